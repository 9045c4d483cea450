"""Which codec should carry a session's values: how fast it is loaded, how fast it works, how exact it is.

python -m bench.codec [--rounds N]
"""

from __future__ import annotations

import math
import statistics
import timeit
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from .asgi_subjects import DATA
from .codec_candidates import CANDIDATES, Candidate, Decode, Encode
from .imports import imports
from .measure import markdown

NOW = datetime(2026, 10, 25, 2, 30, 15, 123456)
WITH_TYPES = DATA | {
    "seen_at": NOW.replace(tzinfo=UTC),
    "price": Decimal("19.90"),
    "id": UUID("b1946ac9-2ed5-4e07-9d2c-6f0f1f6f7a31"),
    "range": (1, 20),
}

EXACT: dict[str, list[Any]] = {
    "None, bool, int to 64 bits": [None, True, 0, -(2**63), 2**64 - 1],
    "int beyond 64 bits": [2**64, -(2**200)],
    "float, inf, nan, -0.0": [1.5, math.inf, math.nan, -0.0],
    "str": ["tea", "Grüße 🍵"],
    "str with a lone surrogate": ["\ud83c"],
    "bytes": [b"\x00\xff"],
    "naive datetime": [NOW],
    "datetime with an offset": [NOW.replace(tzinfo=UTC), NOW.replace(tzinfo=timezone(timedelta(minutes=90)))],
    "datetime with a zone, fold": [NOW.replace(tzinfo=ZoneInfo("Europe/Berlin"), fold=1)],
    "date": [NOW.date()],
    "UUID": [UUID(int=1)],
    "Decimal": [Decimal("1.10"), Decimal("NaN"), Decimal("1E+400")],
    "list, dict with str keys": [[1, ["tea"]], {"a": {"b": []}}],
    "tuple": [(1, (2,)), [(1,)]],
    "set": [{1}, {(1, 2)}],
    "frozenset": [frozenset({1})],
    "dict with other keys": [{1: "a", None: "b", b"c": 1, 1.5: 2}, {date(2026, 1, 1): 1}],
    "dict with tuples as keys": [{(1, "a"): 1}],
    'dict that looks like a tag: {"$1": …}': [{"$1": [1]}, {"$dict": []}],
}


def report(rounds: int = 11) -> str:
    """Two Markdown tables: speed, with `rounds` turns for each candidate, and exactness."""
    return f"{speed_table(rounds)}\n\n{exactness_table()}"


def speed_table(rounds: int) -> str:
    """Import time, and the time and size of a typical session, without and with types that JSON lacks."""
    contenders = {candidate.name: candidate.hooked for candidate in CANDIDATES} | {"holdfast.codec": ours()}
    statements = {candidate.name: candidate.statement for candidate in CANDIDATES}
    statements["holdfast.codec"] = "import holdfast.codec"
    costs = imports(list(statements.values()), rounds)
    subjects: dict[tuple[str, str], Callable[[], object]] = {}
    for name, (encode, decode) in contenders.items():
        for data, session in (("plain", DATA), ("types", WITH_TYPES)):
            subjects[name, f"encode {data}"] = partial(encode, session)
            subjects[name, f"decode {data}"] = partial(decode, encode(session))
    times = in_turns(subjects, rounds)
    rows = []
    for name, (encode, decode) in contenders.items():
        row = [name, f"{costs[statements[name]].seconds * 1e3:.1f}"]
        for data, session in (("plain", DATA), ("types", WITH_TYPES)):
            packed = encode(session)
            exact = same(session, decode(packed))
            row += [f"{times[name, f'{way} {data}'] * 1e6:.1f}" for way in ("encode", "decode")]
            row.append(f"{len(packed)}" if exact else f"{len(packed)}, changed")
        rows.append(row)
    header = ["Codec, with hooks", "import ms", "encode µs", "decode µs", "bytes"]
    return markdown([*header, "types: encode µs", "decode µs", "bytes"], rows)


def ours() -> tuple[Encode, Decode]:
    """Holdfast's codec, one call for each key, as `Sessions` uses it."""
    from holdfast import codec

    def encode(session: Mapping[str, Any]) -> bytes:
        return codec.pack_values({key: codec.encode(value, key) for key, value in session.items()})

    def decode(data: bytes) -> dict[str, Any]:
        return {key: codec.decode(value) for key, value in codec.unpack_values(data).items()}

    return encode, decode


def in_turns(subjects: Mapping[Any, Callable[[], object]], rounds: int) -> dict[Any, float]:
    """The seconds of one call of each subject: the median of the rounds' means."""
    means: dict[Any, list[float]] = {name: [] for name in subjects}
    for _ in range(rounds):
        for name, call in subjects.items():
            means[name].append(timeit.timeit(call, number=1000) / 1000)
    return {name: statistics.median(found) for name, found in means.items()}


def exactness_table() -> str:
    """For each type and candidate, whether a value comes back as it was, and by what."""
    header = ["Value", *(candidate.name for candidate in CANDIDATES), "holdfast.codec"]
    rows = [
        [
            kind,
            *(verdict(candidate, values) for candidate in CANDIDATES),
            outcome(ours_alone(), values) or "exact",
        ]
        for kind, values in EXACT.items()
    ]
    return markdown(header, rows)


def ours_alone() -> tuple[Encode, Decode]:
    """Holdfast's codec for a single value."""
    from holdfast import codec

    return partial(codec.encode, key="key"), codec.decode


def verdict(candidate: Candidate, values: list[Any]) -> str:
    """How all values come back exactly with its hooks, "native" or "hook"; if not, see `outcome`."""
    exact = "hook" if outcome(candidate.plain, values) else "native"
    return outcome(candidate.hooked, values) or exact


def outcome(codec: tuple[Encode, Decode], values: list[Any]) -> str | None:
    """What becomes of the first value that does not come back exactly: "changed" or "refused"."""
    encode, decode = codec
    for value in values:
        try:
            if not same(value, decode(encode(value))):
                return "changed"
        except Exception:
            return "refused"
    return None


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal and of the same types all the way down; nan is the same as nan."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return same(list(one.items()), list(other.items()))
    if isinstance(one, set | frozenset):
        return same(sorted(one), sorted(other))
    return repr(one) == repr(other)
