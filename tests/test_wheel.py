"""The wheel that users install: it is complete, and works with nothing but what it declares."""

from __future__ import annotations

import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

PROJECT = Path(__file__).parent.parent


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command to its end and return what it printed; fail the test with its output if it fails."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel, built from this checkout."""
    place = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", place, PROJECT, cwd=place)
    (built,) = place.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment that holds the wheel and the dependencies it declares.

    The dependencies are copied from the environment that runs the tests, so that no network is needed.
    """
    place = tmp_path_factory.mktemp("fresh")
    venv.create(place, with_pip=False)
    python = place / "bin" / "python"
    run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--no-deps",
        "--no-index",
        wheel,
        cwd=place,
    )
    (packages,) = place.glob("lib/python*/site-packages")
    (declared,) = metadata.distributions(name="holdfast", path=[str(packages)])
    for line in declared.requires or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            copy_distribution(requirement.name, packages)
    return python


def copy_distribution(name: str, packages: Path) -> None:
    """Copy an installed distribution, file by file as it recorded them, into another environment."""
    for file in metadata.distribution(name).files or ():
        if ".." not in file.parts:
            target = packages / file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(Path(str(file.locate())).read_bytes())


def test_the_wheel_is_complete_and_holds_nothing_else(wheel: Path) -> None:
    """Every file of the package, `py.typed` too, and the licence are in it; tests and benchmarks are not."""
    names = set(ZipFile(wheel).namelist())
    source = PROJECT / "src"
    files = [path for path in source.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert {str(path.relative_to(source)) for path in files} <= names
    assert "holdfast/py.typed" in names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert {name.split("/")[0].split("-")[0] for name in names} == {"holdfast"}


def test_what_the_wheel_declares_is_enough(python: Path) -> None:
    """With the declared dependencies alone, pip finds nothing missing and the public API can be loaded."""
    run(sys.executable, "-m", "pip", "--python", python, "check", cwd=python.parent)
    program = """
import importlib.metadata
import holdfast
from holdfast.asgi import SessionMiddleware
from holdfast.stores import from_url
from holdfast.testing import conformance
for name in holdfast.__all__:
    getattr(holdfast, name)
assert holdfast.__version__ == importlib.metadata.version("holdfast")
SessionMiddleware(None, holdfast.Sessions("sqlite:///sessions.db", keys=holdfast.Keyring.generate()))
conformance(lambda: from_url("memory://"))
"""
    run(python, "-I", "-W", "error", "-c", program, cwd=python.parent)


def test_the_command_works_with_what_the_wheel_declares(python: Path) -> None:
    """`holdfast keys new` prints a key in an environment without any extra."""
    assert run(python.parent / "holdfast", "keys", "new", cwd=python.parent).strip()


def test_the_lab_says_what_it_needs(python: Path) -> None:
    """`holdfast demo` without its extra ends with the line that installs it, and with no traceback."""
    done = subprocess.run(
        [python.parent / "holdfast", "demo"], cwd=python.parent, capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0
    assert "pip install 'holdfast[lab]'" in done.stderr
    assert "Traceback" not in done.stderr
