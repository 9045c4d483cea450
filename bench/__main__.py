"""Run the benchmarks and print their tables in Markdown.

python -m bench [imports|codec|requests|stores|scale|faults|copies|hit_rates|memory|tokens ...] [--rounds N] [--write]
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from . import codec, copies, faults, hit_rates, imports, memory, requests, scale, stores, tokens

REPORTS = {
    "imports": imports.report,
    "codec": codec.report,
    "requests": requests.report,
    "stores": stores.report,
    "scale": scale.report,
    "faults": faults.report,
    "copies": copies.report,
    "hit_rates": hit_rates.report,
    "memory": memory.report,
    "tokens": tokens.report,
}
PAGE = Path(__file__).parent.parent / "docs" / "performance.md"


def main() -> None:
    """Measure what is asked for, or all of it."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure Holdfast and its peers.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(REPORTS)}; all by default")
    parser.add_argument("--rounds", type=int, help="how often each subject has its turn")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/performance.md too")
    options = parser.parse_args()
    if unknown := set(options.names) - set(REPORTS):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}")
    arguments = () if options.rounds is None else (options.rounds,)
    for name in options.names or REPORTS:
        report = REPORTS[name](*arguments)
        print(report, end="\n\n", flush=True)
        if options.write:
            write(name, report)


def write(name: str, report: str) -> None:
    """Replace what stands between the two comments of this name in docs/performance.md."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    between = re.compile(f"(?<={begin}\n).*(?={end})", re.DOTALL)
    page, found = between.subn(lambda _: f"{report}\n", PAGE.read_text())
    if not found:
        raise SystemExit(f"{PAGE} has no place for {name}")
    PAGE.write_text(page)


if __name__ == "__main__":
    main()
