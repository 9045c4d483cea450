"""Keys: where they come from, what is refused, and rotation."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from holdfast import BadToken, ConfigError, Keyring, Sessions
from holdfast.cli import main

from recording import RecordingStore, planted  # isort: skip

OLD, NEW = Keyring.new_secret(), Keyring.new_secret()


def test_promise_10_keys_rotate_without_logging_anyone_out() -> None:
    """Old cookies are good while the old key is in the ring, wherever it stands; new ones are by the newest."""
    store = RecordingStore()
    before = Sessions(store, keys=OLD)
    session = before.open(None)
    session["n"] = 1
    before.sync.commit(session)
    cookie = (planted(session) or "").partition(";")[0].encode()

    during = Sessions(store, keys=[NEW, OLD])
    again = during.open(cookie)
    during.sync.load(again)
    assert again["n"] == 1
    fresh = during.open(None)
    fresh["n"] = 2
    during.sync.commit(fresh)

    after = Sessions(store, keys=[NEW])
    newest = after.open((planted(fresh) or "").partition(";")[0].encode())
    after.sync.load(newest)
    assert newest["n"] == 2
    assert after.open(cookie).is_new, "a retired key opens nothing"


@pytest.mark.parametrize(
    ("secrets", "text"),
    [
        ([], "no key"),
        (["short"], "too short"),
        ([b"x" * 31], "too short"),
        (["a" * 64], "can be guessed"),
        ([Keyring.new_secret(), ""], "too short"),
    ],
)
def test_unfit_keys_are_refused_with_the_remedy(secrets: list[str | bytes], text: str) -> None:
    """At construction, saying how to make a good one."""
    with pytest.raises(ConfigError, match=text) as caught:
        Keyring(secrets)
    assert "holdfast keys new" in str(caught.value)


def test_a_ring_does_not_show_its_secrets() -> None:
    """Neither printed nor in an error: it ends up in logs."""
    assert OLD not in repr(Keyring([OLD, NEW]))
    assert len(Keyring([OLD, NEW]).key_ids) == 2


def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several keys, separated by commas or white space."""
    for text in (f"{NEW},{OLD}", f"{NEW} {OLD}", f" {NEW} ,\n{OLD}\n"):
        monkeypatch.setenv("HOLDFAST_KEYS", text)
        assert Keyring.from_env().key_ids == Keyring([NEW, OLD]).key_ids
    monkeypatch.setenv("HOLDFAST_KEYS", " ")
    with pytest.raises(ConfigError, match="HOLDFAST_KEYS is not set"):
        Keyring.from_env()


def test_a_file(tmp_path: Path) -> None:
    """One key a line; comments and empty lines do not count."""
    path = tmp_path / "keys"
    path.write_text(f"# newest first\n\n{NEW}\n{OLD}\n")
    assert Keyring.from_file(path).key_ids == Keyring([NEW, OLD]).key_ids
    with pytest.raises(ConfigError, match="missing"):
        Keyring.from_file(tmp_path / "missing")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be used"):
        Keyring.from_file(path)
    with pytest.raises(ConfigError, match="cannot be used"):
        Keyring.from_file(tmp_path / "no" / "such" / "directory", create=True)


def _ids(path: str) -> list[str]:
    return Keyring.from_file(path, create=True).key_ids


def test_processes_that_start_at_once_agree_on_one_key(tmp_path: Path) -> None:
    """A key of each process's own would lose every session (aspnetcore#2520)."""
    path = tmp_path / "keys"
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        rings = pool.map(_ids, [str(path)] * 16)
    assert len({tuple(ring) for ring in rings}) == 1
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["keys"]


def test_a_key_has_one_purpose() -> None:
    """What was marked for one purpose is nothing for another."""
    ring = Keyring([NEW])
    token = ring.marker("a").mark(b"body")
    assert ring.marker("a").unmark(token) == b"body"
    with pytest.raises(BadToken, match="bad mac"):
        ring.marker("b").unmark(token)
    for size in (0, 4, 36):
        with pytest.raises(BadToken, match="malformed"):
            ring.marker("a").unmark(token[:size])


def test_keys_new_prints_a_usable_key(capsys: pytest.CaptureFixture[str]) -> None:
    """`holdfast keys new`, to be put into HOLDFAST_KEYS."""
    assert main(["keys", "new"]) == 0
    printed = capsys.readouterr().out
    assert printed == f"{printed.strip()}\n"
    assert len(Keyring([printed.strip()]).key_ids) == 1
    main(["keys", "new"])
    assert capsys.readouterr().out != printed
