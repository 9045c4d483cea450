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
        "import holdfast; [getattr(holdfast, name) for name in holdfast.__all__]",
        "from holdfast.asgi import SessionMiddleware",
        "import holdfast; holdfast.Sessions('memory://')",
    ],
)
def test_nothing_heavy_is_loaded(statement: str) -> None:
    """No event loop, no SDK, no framework, no cryptography, no package metadata."""
    assert loaded_by(statement) & BANNED == set()


def test_a_sync_caller_of_memcached_loads_no_event_loop(memcached_url: str) -> None:
    """asyncio takes longer to load than all of Holdfast: only who awaits pays for it."""
    statement = (
        "from holdfast import Change, Record, _colour; from holdfast.stores import from_url; run = _colour.run; "
        f"store = from_url({memcached_url!r}); "
        "run(store.create('k', Record(1, b'tag', {}, 'ann', 1.0, 2.0))); run(store.load('k')); "
        "run(store.commit('k', Change(b'other', 1.5, {'a': b'1'}))); run(store.of('ann')); "
        "run(store.put_copy('k', 1, b'copy', 9.0)); run(store.get_copy('k')); run(store.aclose()); store.close()"
    )
    assert "asyncio" not in loaded_by(statement)


@pytest.mark.parametrize("store", ["sqlite", "memcached"])
def test_a_store_loads_what_it_needs_and_nothing_else(store: str) -> None:
    """What only a URL, an async caller or a rival needs is loaded when it comes."""
    unneeded = {"asyncio", "dataclasses", "pathlib", "random", "urllib.parse"}
    assert unneeded & loaded_by(f"import holdfast.stores.{store}") == set()


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
