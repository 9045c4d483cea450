"""Names for the roles and users that printed code makes, and how names stand in code.

Engines have these for a whole server or project, so each has to say whose sessions it is for: under one name for two
applications, each could do to the other's sessions what it can do to its own.
"""

from __future__ import annotations

import hashlib
import json
import re

_DIGEST_LENGTH = 8


def one_name(*names: str, longest: int, signs: str = "_-") -> str:
    """The names as one of at most `longest` ASCII letters, digits and `signs`, which no others come to.

    They stand there as they are where that is clear. Otherwise it is as much of them as can be shown, and a digest.
    """
    joined = "__".join(names)
    plain = re.compile(rf"[a-zA-Z0-9]+([{signs}][a-zA-Z0-9]+)*")
    if all(map(plain.fullmatch, names)) and len(joined) <= longest:
        return joined
    digest = hashlib.sha256("\0".join(names).encode()).hexdigest()[:_DIGEST_LENGTH]
    shown = re.sub(r"[^a-zA-Z0-9]+", "_", joined)[: longest - _DIGEST_LENGTH - 1].strip("_")
    return f"{shown or 'x'}_{digest}"


def in_hcl(name: str) -> str:
    """The name as it stands between the quotation marks of Terraform's language, in which some signs are code."""
    escaped = json.dumps(name, ensure_ascii=False)[1:-1]
    return escaped.replace("${", "$${").replace("%{", "%%{")
