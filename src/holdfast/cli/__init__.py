"""The `holdfast` command: one file a subcommand, each with `register(subparsers)`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ..errors import ConfigError
from . import demo, keys, migrate, provision


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments (the process's own, if None). Returns the exit status.

    0: done; 1: a promise was found broken, or something is missing; 2: the arguments or the configuration are wrong.
    """
    parser = argparse.ArgumentParser(
        prog="holdfast", description="Web sessions that outlive the instance that served them."
    )
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (demo, keys, migrate, provision):
        command.register(subparsers)
    arguments = parser.parse_args(argv)
    try:
        status: int = arguments.run(arguments)
    except ConfigError as error:
        print(f"holdfast: {error}", file=sys.stderr)
        return 2
    return status
