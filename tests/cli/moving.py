"""What the tests of `holdfast migrate` share: stores with sessions in them, and runs that are cut off."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from holdfast._colour import run
from holdfast.record import Record
from holdfast.stores import from_url

Capture = pytest.CaptureFixture[str]


def new_session(life: float = 3600.0) -> tuple[str, Record]:
    now = time.time()
    values = {"n": b"\x00", "name": secrets.token_bytes(20)}
    return secrets.token_hex(32), Record(1, os.urandom(8), values, "ann", now, now + life)


def filled(url: str, number: int, life: float = 3600.0) -> dict[str, Record]:
    """So many sessions in the store of this URL."""
    store, sessions = from_url(url), dict(new_session(life) for _ in range(number))
    for key, record in sessions.items():
        run(store.create(key, record))
    return sessions


def command(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "holdfast.cli", "migrate", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A job in the background of a shell inherits that Ctrl-C is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def interrupted(number: signal.Signals, *arguments: str) -> tuple[int, str, str]:
    """A real run that gets the signal once it has noted its first place."""
    process = command(*arguments)
    while process.poll() is None and not list(Path().glob(".holdfast-migrate*.json")):
        time.sleep(0.002)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err
