"""The coverage-guided fuzz of every parser of tokens (see `fuzz_targets`), as a proof: ten million inputs and more."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

RUNS = 10_000_000
HERE = Path(__file__).parent


def fuzz(corpus: Path, runs: int) -> subprocess.CompletedProcess[str]:
    """Run it in a process of its own: it ends that."""
    command = [sys.executable, str(HERE / "fuzz_main.py"), str(corpus), f"-runs={runs}", "-max_len=6000"]
    return subprocess.run(
        [*command, "-print_final_stats=1", f"-artifact_prefix={corpus.parent}/"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )


@pytest.mark.proof
@pytest.mark.timeout(2400)
def test_ten_million_inputs_are_accepted_or_refused_and_nothing_else(tmp_path: Path) -> None:
    """No exception but the refusal, nothing accepted that was not issued, no input that takes long."""
    done = fuzz(tmp_path / "corpus", RUNS)
    assert done.returncode == 0, done.stderr[-4000:]
    said = dict(re.findall(r"stat::(\w+):\s+(\d+)", done.stderr))
    print(said)
    assert int(said["number_of_executed_units"]) >= RUNS
    assert int(said["slowest_unit_time_sec"]) < 2
    assert int(said["peak_rss_mb"]) < 1024


@pytest.mark.proof
def test_the_fuzz_begins_with_what_is_accepted(tmp_path: Path) -> None:
    """A handful of inputs: that it starts from good tokens, for each target, is checked by its own start."""
    done = fuzz(tmp_path / "corpus", 100)
    assert done.returncode == 0, done.stderr[-4000:]
    assert len(list((tmp_path / "corpus").glob("seed-*"))) >= 25
