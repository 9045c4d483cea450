"""The mechanism that makes copies safe, with four and five requests at once: more than Python can explore.

Spin makes a C program of the model in copies.pml, which visits every state.
"""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

MODEL = Path(__file__).with_name("copies.pml")

# Every state is remembered whole, or by a hash of it, which takes half the memory and takes some states for others:
# of four requests' states it visits 99 in 100.
WHOLE = ()
HASHED = ("-DHC4",)

WORLDS = {
    "four requests": (("-DREQUESTS=4",), WHOLE, 300.0),
    "four requests and another device": (("-DREQUESTS=4", "-DOTHERS=1"), HASHED, 600.0),
    "five requests": (("-DREQUESTS=5",), HASHED, 600.0),
}

MUTANTS = {
    "no pin": (("-DNOPIN",), "reads_its_writes"),
    "no long pin": (("-DNOLONGPIN",), "reads_its_writes"),
    "cache set without version guard": (("-DNOGUARD",), "reads_its_writes"),
    "a put fills an empty place": (("-DFILLS_EMPTY=true",), "reads_its_writes"),
    "a put leaves a claim as it is": (("-DVOIDS=false",), "reads_its_writes"),
    "floor on writes only": (("-DREADS_PLANT=NOTHING",), "never_goes_back"),
}

MEMORY_MB = 6000


class Search(NamedTuple):
    """How many states were visited, whether those were all, and which assertion failed, if one did."""

    states: int
    complete: bool
    violated: str | None
    seconds: float

    def __str__(self) -> str:
        extent = "all of them" if self.complete else "cut"
        outcome = f"{self.violated} fails" if self.violated else "every assertion holds"
        return f"{self.states:,} states ({extent}) in {self.seconds:.0f} s, {outcome}"


def search(directory: Path, world: tuple[str, ...], memory: tuple[str, ...], limit: float) -> Search:
    """Let Spin search for an assertion that fails, for `limit` seconds at most."""
    spin = ("spin", *world, "-a", str(MODEL))
    # Every step touches what others see, so that there is nothing for partial order reduction to do.
    gcc = ("gcc", "-O2", "-DSAFETY", "-DNOREDUCE", f"-DMEMLIM={MEMORY_MB}", *memory, "-o", "pan", "pan.c")
    for command in (spin, gcc):
        subprocess.run(command, cwd=directory, check=True, timeout=60, capture_output=True)
    program = [str(directory / "pan"), "-m100000", "-w26"]
    with subprocess.Popen(program, cwd=directory, stdout=subprocess.PIPE, text=True) as process:
        try:
            output, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)  # it says how far it has come
            output, _ = process.communicate(timeout=30)
    return _said(output)


def _said(output: str) -> Search:
    states = re.search(r"(\d+(?:\.\d+e\+\d+)?) states, stored", output)
    seconds = re.search(r"elapsed time ([\d.e+]+) seconds", output)
    assert states, output
    assert seconds, output
    assert "search depth too small" not in output, output
    violated = re.search(r"assertion violated \(?(\w+)", output)
    assert violated or "errors: 0" in output, output
    complete = "Search not completed" not in output and "Interrupted" not in output
    return Search(int(float(states[1])), complete, violated and violated[1], float(seconds[1]))


@pytest.mark.proof
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", WORLDS)
def test_no_assertion_fails(name: str, tmp_path: Path) -> None:
    """Reads never miss their browser's writes, nor go back; four requests at once are searched completely."""
    found = search(tmp_path, *WORLDS[name])
    print(f"\n{name}: {found}")
    assert found.violated is None
    assert found.complete or name != "four requests"


@pytest.mark.proof
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", MUTANTS)
def test_each_rule_is_needed(name: str, tmp_path: Path) -> None:
    """Without the rule an assertion fails, with four requests at most."""
    rules, assertion = MUTANTS[name]
    found = search(tmp_path, ("-DREQUESTS=4", *rules), WHOLE, 120.0)
    print(f"\n{name}: {found}")
    assert found.violated == assertion
