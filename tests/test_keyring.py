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


@pytest.mark.parametrize(
    "secret",
    [
        "user@example.com has a long passphrase",
        "@@@ and a passphrase that is long enough",
        "Passphrase://with a capital, and so no URL",
        "a passphrase://that begins like none either",
    ],
)
def test_an_odd_secret_is_a_secret(secret: str) -> None:
    """An @ that no date follows, and what only looks like a URL, belong to it, as they did before keys had times."""
    assert Keyring.of(secret).key_ids == Keyring([secret.encode()]).key_ids
    assert Keyring([secret]).key_ids == Keyring([secret.encode()]).key_ids


@pytest.mark.parametrize(
    "place",
    [
        "/run/secrets/holdfast-session-keys",
        "/run/secrets/holdfast/session/keys",
        "/opt/Shop/secrets/holdfast/session/keys",
        "/var/lib/shop7/secrets/holdfast/session",
        "./configuration/of/the/shop/session/keys",
        "~/configuration/of/the/shop/session/keys",
        "../configuration/of/the/shop/keys2@2026-11-23T20:00:00Z",
        "file:///etc/holdfast/session/keys",
        "FILE:///etc/holdfast/session/keys",
        "aws-secretsmanager://app-sessions?region=eu-west-1",
    ],
)
def test_a_place_is_no_secret(place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`HOLDFAST_KEYS=/run/secrets/…` would be a key that whoever knows the path can make tokens with."""
    with pytest.raises(ConfigError, match="looks like the path or URL of a place") as caught:
        Keyring([place])
    assert place not in str(caught.value)
    if "://" in place:
        return
    monkeypatch.setenv("HOLDFAST_KEYS", place)
    with pytest.raises(ConfigError, match="file:///path"):
        Keyring.from_env()
    for keys in (place, [place, NEW], [NEW, place]):
        with pytest.raises(ConfigError, match="file:///path"):
            Keyring.of(keys)
    path = tmp_path / "keys"
    path.write_text(f"{place}\n")
    with pytest.raises(ConfigError, match="looks like"):
        Keyring.from_file(path)


def test_a_secret_in_base64_is_one_wherever_its_slashes_are() -> None:
    """As `openssl rand -base64 32` prints them: one in 64 begins with a slash."""
    for secret in (
        "/3t0mCk1m0XyD2Wq9yR7oVdXh5nN1bPzTq8sLr4uE0I=",
        "/3t0mCk1m0Xy/2Wq9yR7oVdXh/nN1bPzTq8sLr4uE+I=",
        "//t0mCk1m0Xy/2Wq9yR7oVdXh/nN1bPzTq8sLr4uE+I=",
    ):
        assert Keyring.of(secret).key_ids == Keyring([secret.encode()]).key_ids


@pytest.mark.parametrize("between", [",", " ", ", ", "\n"])
def test_several_keys_in_one_text_are_several(between: str) -> None:
    """`Sessions(keys=os.environ[…])` has the ring that the variable has, so that adding a key logs nobody out."""
    ring = Keyring.of(f"{NEW}@2026-11-23T20:00:00Z{between}{OLD}{between}")
    assert ring.keys == Keyring([f"{NEW}@2026-11-23T20:00:00Z", OLD]).keys
    assert Keyring.of(f"{NEW}{between}").key_ids == Keyring([NEW]).key_ids
    with pytest.raises(ConfigError, match="too short"):
        Keyring.of(f"{NEW}{between}half-a-key")


@pytest.mark.parametrize(
    "moment", ["2031-11-23", "2031-11-23T20:00:00", "2031-13-23T20:00:00Z", "2031-passphrase"]
)
def test_a_time_that_is_none_is_refused(moment: str) -> None:
    """An instance that took it for a part of the secret would make tokens that no other opens. It is not repeated."""
    with pytest.raises(ConfigError, match="no UTC time") as caught:
        Keyring([f"{NEW}@{moment}"])
    assert moment not in str(caught.value)


def test_one_key_may_be_written_in_two_ways() -> None:
    """The time beside a secret is no part of it."""
    ring = Keyring([f"{NEW}@2026-11-23T20:00:00Z", NEW, OLD])
    assert ring.key_ids == Keyring([NEW, OLD]).key_ids
    assert Keyring([f"{NEW}@2026-11-23T21:00:00+01:00"]).keys == Keyring([f"{NEW}@2026-11-23T20:00:00Z"]).keys


class _Digest:
    """A hash whose short form is the same for everything."""

    def __init__(self, raw: bytes, size: int) -> None:
        self._found = b"same" if size == 4 else raw[:size]

    def digest(self) -> bytes:
        return self._found


def test_two_keys_of_one_id_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of them would never open anything; it happens once in four billion times."""
    monkeypatch.setattr("holdfast.key.blake2b", lambda raw, digest_size, person: _Digest(raw, digest_size))
    with pytest.raises(ConfigError, match="two different keys have the id"):
        Keyring([OLD, NEW])
    assert len(Keyring([OLD, OLD]).key_ids) == 1


def test_a_ring_does_not_show_its_secrets() -> None:
    """Neither printed nor in an error: it ends up in logs."""
    assert OLD not in repr(Keyring([OLD, NEW]))
    assert len(Keyring([OLD, NEW]).key_ids) == 2


def test_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Several keys, separated by commas or white space, or the URL of another place."""
    for text in (f"{NEW},{OLD}", f"{NEW} {OLD}", f" {NEW} ,\n{OLD}\n"):
        monkeypatch.setenv("HOLDFAST_KEYS", text)
        assert Keyring.from_env().key_ids == Keyring([NEW, OLD]).key_ids
    (tmp_path / "keys").write_text(f"{NEW}\n{OLD}\n")
    for url in (f"file://{tmp_path}/keys", "env://MY_KEYS"):
        monkeypatch.setenv("MY_KEYS", f"{NEW},{OLD}")
        monkeypatch.setenv("HOLDFAST_KEYS", url)
        assert Keyring.from_env().key_ids == Keyring([NEW, OLD]).key_ids
        assert Keyring.of(url).key_ids == Keyring([NEW, OLD]).key_ids
        Sessions(RecordingStore())
        Sessions(RecordingStore(), keys=url)
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
