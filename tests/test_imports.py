"""What importing costs: on a serverless platform it is latency that a user waits for (design §11)."""

from __future__ import annotations

import subprocess
import sys

import pytest

BANNED = {
    "asyncio",
    "cryptography",
    "importlib.metadata",
    "logging",
    "dataclasses",
    "inspect",
    "ssl",
    "sqlite3",
    "redis",
    "boto3",
    "azure",
    "google.cloud",
    "psycopg",
    "pymemcache",
    "starlette",
    "fastapi",
    "litestar",
    "flask",
    "django",
    "aiohttp",
    "uvicorn",
    "rich",
}


def loaded_by(statement: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after the statement."""
    code = f"import sys; before = set(sys.modules); {statement}; print(*sorted(set(sys.modules) - before))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


@pytest.mark.parametrize(
    "statement",
    [
        "import holdfast",
        "from holdfast import Sessions, Keyring, Session, SessionGone",
        "from holdfast.asgi import SessionMiddleware",
        "import holdfast; holdfast.Sessions('memory://')",
    ],
)
def test_nothing_heavy_is_loaded(statement: str) -> None:
    """No event loop, no SDK, no framework, no cryptography, no package metadata."""
    assert loaded_by(statement) & BANNED == set()


def test_the_package_itself_loads_nothing_of_its_own() -> None:
    """`import holdfast` is a table of names; each is loaded when it is first used."""
    assert {name for name in loaded_by("import holdfast") if name.startswith("holdfast")} == {"holdfast"}


def test_the_check_sees_what_it_looks_for() -> None:
    """A statement that loads a banned module is caught."""
    assert "asyncio" in loaded_by("import asyncio") & BANNED


def test_every_public_name_is_there() -> None:
    """The table and the modules agree."""
    import holdfast

    for name in holdfast.__all__:
        assert getattr(holdfast, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        holdfast.nonsense  # noqa: B018
    assert set(holdfast.__all__) <= set(dir(holdfast))
