"""`holdfast keys new`: a fresh secret for `HOLDFAST_KEYS` or a key file."""

from __future__ import annotations

import argparse
from typing import Any

from ..keyring import Keyring


def register(subparsers: Any) -> None:
    """Add `keys` and its own subcommands."""
    parser = subparsers.add_parser("keys", help="make the keys that sign what browsers hold")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    new = actions.add_parser(
        "new",
        help="print a fresh key",
        description="Print a fresh key of 256 random bits. Put it in front of HOLDFAST_KEYS, the same on "
        "every instance, and remove the oldest key once no session can be as old (absolute=, 12 hours).",
    )
    new.set_defaults(run=_new)


def _new(arguments: argparse.Namespace) -> int:
    print(Keyring.new_secret())
    return 0
