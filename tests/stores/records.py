"""Records, changes and calls for the tests of single stores."""

from __future__ import annotations

import os
import secrets
import time
from typing import Any

from holdfast._colour import run
from holdfast.errors import Conflict
from holdfast.record import Change, Record
from holdfast.stores import Store


def new_key() -> str:
    """A key that nobody has used."""
    return secrets.token_urlsafe(32)


def new_record(life: float = 3600.0, **fields: Any) -> Record:
    """A record that was made just now, of one value."""
    now = time.time()
    return Record(1, os.urandom(8), {"n": b"0"}, None, now, now + life)._replace(**fields)


def new_change(**fields: Any) -> Change:
    """A change that is made just now."""
    return Change(os.urandom(8), time.time())._replace(**fields)


def add_one(store: Store, key: str, record: Record) -> Record:
    """Count `n` up by one as `Session.alter` does: based on what was read, and again after each Conflict."""
    while True:
        more = {"n": b"%d" % (int(record.values["n"]) + 1)}
        try:
            return run(store.commit(key, new_change(set=more, base=record.version)))
        except Conflict as conflict:
            record = conflict.current
