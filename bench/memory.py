"""How much memory a local copy takes: a hundred thousand of them, in a fresh process.

Counted twice, each time in a process of its own: by the interpreter (tracemalloc: what was asked for) and by the
operating system (resident pages: what is really taken, the allocator's waste included). Both before and after each
copy was read once, for reading moves it to the end of the order of use.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import NamedTuple

from .asgi_subjects import DATA
from .measure import markdown

COPIES = 100_000
MOST_BYTES = 400

PROGRAM = """
import gc, hashlib, json, os, sys, time, tracemalloc
from holdfast import codec
from holdfast.copies import pack
from holdfast.copies.local import LocalCopies, moment
from holdfast.record import Record

copies, traced, data = json.loads(sys.argv[1])

def key(number):
    return hashlib.sha256(b"%d" % number).hexdigest()

def record(number):
    values = {name: codec.encode(value, name) for name, value in data.items()}
    values["number"] = codec.encode(number, "number")
    now = time.time()
    return Record(number, os.urandom(8), values, f"user-{number}", now, now + 1800)

def taken():
    gc.collect()
    if traced:
        return tracemalloc.get_traced_memory()[0]
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

local = LocalCopies(1 << 40)
local.put(key(0), record(0), moment(time.time))  # what is loaded on first use is no part of a copy
local.drop(key(0))
if traced:
    tracemalloc.start()
before, encoded = taken(), 0
for number in range(1, copies + 1):
    one, read_at = record(number), moment(time.time)
    encoded += len(pack(one, read_at.wall))
    local.put(key(number), one, read_at)
kept = taken() - before
for number in range(1, copies + 1):
    assert local.get(key(number), 3600, moment(time.time)).version == number
read = taken() - before
assert len(local) == copies
print(json.dumps([encoded / copies, kept / copies, read / copies]))
"""


class Memory(NamedTuple):
    """Bytes for each copy: of its encoded form alone, and of all that it takes, before and after it was read."""

    encoded: float
    kept: float
    read: float


def report(rounds: int = 1) -> str:
    """A Markdown table; `rounds` is taken for the sake of the other benchmarks: bytes need none."""
    rows = []
    for name, traced in {"the interpreter": True, "the operating system": False}.items():
        found = measure(traced=traced)
        beyond = [found.kept - found.encoded, found.read - found.encoded]
        met = "met" if max(beyond) <= MOST_BYTES else "missed"
        figures = [f"{found.encoded:.0f}", *(f"{figure:.0f}" for figure in beyond)]
        rows.append([f"{name}", f"{COPIES:,}", *figures, f"{MOST_BYTES}, {met}"])
    header = [
        "Counted by",
        "copies",
        "bytes encoded",
        "bytes beyond",
        "beyond, once all were read",
        "at most",
    ]
    return markdown(header, rows)


def measure(*, traced: bool) -> Memory:
    """Fill a fresh process with copies; the bytes for one of them."""
    arguments = json.dumps([COPIES, traced, DATA])
    command = [sys.executable, "-I", "-c", PROGRAM, arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return Memory(*json.loads(done.stdout))
