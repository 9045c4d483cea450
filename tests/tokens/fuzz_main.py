"""The coverage-guided fuzz of every parser: python fuzz_main.py CORPUS [libFuzzer's options].

CORPUS is a directory for the inputs that reach something new; it is begun with what the targets accept.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["holdfast"]):
    import fuzz_targets


def main() -> None:
    """Never returns: libFuzzer ends the process, with 0 if nothing was found."""
    corpus = Path(sys.argv[1])
    corpus.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(fuzz_targets.NAMES):
        for index, seed in enumerate(fuzz_targets.SEEDS[name]):
            assert fuzz_targets.TARGETS[name](seed) or name in fuzz_targets.NEVER_ACCEPT, name
            (corpus / f"seed-{number}-{index}").write_bytes(bytes([number]) + seed)
    atheris.Setup(sys.argv, fuzz_targets.fire)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
