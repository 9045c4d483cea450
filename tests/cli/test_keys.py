"""`holdfast keys`: what it does to the keys, and what it says."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from holdfast import Keyring, Sessions
from holdfast.cli import main
from holdfast.testing import FakeClock
from holdfast.tokens import Token

HOUR = 3600.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """The time that the command sees, from 2027-01-15T08:00:00Z on."""
    found = FakeClock(1_800_000_000.0)
    monkeypatch.setattr("holdfast.cli.keys.time", SimpleNamespace(time=found))
    return found


@pytest.fixture
def keys(tmp_path: Path) -> str:
    """The path of a file of keys that is not there yet."""
    return str(tmp_path / "keys")


def ids(path: str) -> list[str]:
    return Keyring.from_file(path).key_ids


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What `holdfast keys …` prints."""
    assert main(["keys", *arguments]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    return printed.out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What `holdfast keys …` complains about, in one line."""
    assert main(["keys", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    return printed.err


def test_the_first_key_makes_tokens_at_once_and_the_next_waits(
    keys: str, clock: FakeClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """`add`: ten minutes, or as long as is said."""
    assert run(capsys, "add", keys) == f"added {ids(keys)[0]}\n"
    assert run(capsys, "add", keys) == f"added {ids(keys)[0]} from 2027-01-15T08:10:00Z\n"
    assert run(capsys, "add", keys, "--wait", "90s").endswith("from 2027-01-15T08:01:30Z\n")
    assert Path(keys).stat().st_mode & 0o777 == 0o600


def test_rotate_retires_what_no_session_needs(
    keys: str, clock: FakeClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """A key goes once its successor has made tokens for longer than a session lives, and no earlier."""
    run(capsys, "add", keys)
    first = ids(keys)[0]
    run(capsys, "rotate", keys)
    clock.advance(600 + 12 * HOUR + 59)
    run(capsys, "rotate", keys)
    assert first in ids(keys)
    clock.advance(1)
    assert f"retired {first}\n" in run(capsys, "rotate", keys)
    assert first not in ids(keys)
    assert len(ids(keys)) == 3
    clock.advance(HOUR)
    assert run(capsys, "rotate", keys, "--lifetime", "30m").count("retired") == 2


def test_rotate_leaves_keys_of_an_unknown_age(
    keys: str, clock: FakeClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody knows since when a key without a time has made tokens."""
    Path(keys).write_text(f"{Keyring.new_secret()}\n{Keyring.new_secret()}\n")
    clock.advance(365 * 24 * HOUR)
    assert "retired" not in run(capsys, "rotate", keys)
    assert len(ids(keys)) == 3


def test_retire_logs_nobody_out_by_mistake(
    keys: str, clock: FakeClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """A key that sessions need goes only if it has leaked; the only one that makes tokens does not go at all."""
    run(capsys, "add", keys)
    old = ids(keys)[0]
    run(capsys, "add", keys)
    new = ids(keys)[0]
    assert "no other key makes tokens yet" in refused(capsys, "retire", keys, old)
    assert "no other key makes tokens yet" in refused(capsys, "retire", keys, old, "--leaked")
    clock.advance(601)
    assert f"sessions may need the key {old}" in refused(capsys, "retire", keys, old)
    assert "--leaked" in refused(capsys, "retire", keys, new)
    assert ids(keys) == [new, old]
    clock.advance(12 * HOUR + 60)
    assert run(capsys, "retire", keys, old) == f"retired {old}\n"
    assert ids(keys) == [new]
    assert f"there is no key {old}" in refused(capsys, "retire", keys, old)


def test_a_leaked_key_goes_at_once(keys: str, clock: FakeClock, capsys: pytest.CaptureFixture[str]) -> None:
    """And so does one that has not made a token yet, which nobody needs."""
    run(capsys, "add", keys)
    leaked = ids(keys)[0]
    run(capsys, "add", keys, "--wait", "1s")
    clock.advance(1)
    assert run(capsys, "retire", keys, leaked, "--leaked") == f"retired {leaked}\n"
    run(capsys, "add", keys)
    unused, kept = ids(keys)
    run(capsys, "retire", keys, unused)
    assert ids(keys) == [kept]


def test_list_shows_everything_but_keys(
    keys: str, clock: FakeClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ids, since when they make tokens, and which one does."""
    run(capsys, "add", keys)
    run(capsys, "add", keys, "--wait", "3650d")
    new, old = ids(keys)
    printed = run(capsys, "list", keys)
    assert printed == f"{new} from 2037-01-12T08:00:00Z  opens tokens\n{old}  makes tokens\n"
    for line in Path(keys).read_text().split():
        assert line[:43] not in printed


def test_a_url_is_as_good_as_a_path(
    tmp_path: Path, clock: FakeClock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`file://`, and `env://` for what only reads."""
    url = f"file://{tmp_path}/keys"
    run(capsys, "add", url)
    monkeypatch.setenv("MY_KEYS", (tmp_path / "keys").read_text())
    assert run(capsys, "list", "env://MY_KEYS") == run(capsys, "list", url)
    assert "cannot set MY_KEYS" in refused(capsys, "add", "env://MY_KEYS")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["list", "missing"], "missing is missing"),
        (["list", "nowhere://x"], "no place for keys"),
        (["list", "env://NOTHING"], "NOTHING is not set"),
        (["add", "keys", "--wait", "soon"], "--wait='soon'"),
        (["rotate", "keys", "--lifetime", "0s"], "--lifetime='0s'"),
        (["add", "no/such/directory"], "cannot be"),
        (["retire", "missing", "00000000"], "there is no key"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_told_in_one_line(
    arguments: list[str],
    text: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """On stderr, with status 2."""
    monkeypatch.chdir(tmp_path)
    assert text in refused(capsys, *arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_something_else_is_not_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`holdfast keys add README.md` does nothing, and repeats nothing of what stood there."""
    path = tmp_path / "README.md"
    path.write_text("a passphrase of mine\n")
    for action in (["add"], ["rotate"], ["list"]):
        assert "passphrase" not in refused(capsys, *action, str(path))
    assert path.read_text() == "a passphrase of mine\n"


@pytest.mark.parametrize("more", ["", "@2031-11-23T20:00:00Z", ",{}", " {}"])
@pytest.mark.parametrize("action", [["list"], ["add"], ["rotate"], ["export-jwks"]], ids=str)
def test_a_key_in_the_place_of_its_place_is_not_shown(
    action: list[str],
    more: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`holdfast keys list "$HOLDFAST_KEYS"`: the error ends in a log, and no file is called by a secret."""
    monkeypatch.chdir(tmp_path)
    secret = "nWdTRbQMEyiPtA4xSRVpyZlnO6cXUsqjBSYHMVkmBMo"
    said = refused(capsys, *action, secret + more.format(Keyring.new_secret()))
    assert "that is a key" in said
    assert secret not in said
    assert list(tmp_path.iterdir()) == []


def test_export_jwks_prints_what_readers_need(keys: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The public keys of the tokens that `Sessions` with the same settings makes, newest first."""
    run(capsys, "add", keys)
    run(capsys, "add", keys)
    found = json.loads(run(capsys, "export-jwks", keys))["keys"]
    assert [key["kid"] for key in found] == ids(keys)
    assert all(key["kty"] == "OKP" and "d" not in key for key in found)
    es256 = json.loads(run(capsys, "export-jwks", keys, "--algorithm", "ES256"))["keys"]
    assert all(key["crv"] == "P-256" for key in es256)
    others = [
        json.loads(run(capsys, "export-jwks", keys, *option))["keys"][0]["x"]
        for option in (
            ["--cookie-name", "other"],
            ["--insecure-http"],
            ["--transport", "header"],
            ["--bearer", "api"],
        )
    ]
    assert len({found[0]["x"], *others}) == 5, "each application has keys of its own"


def test_export_jwks_fits_the_tokens(keys: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A reader with nothing but the export checks a token of `Sessions`."""
    import jwt

    run(capsys, "add", keys)
    sessions = Sessions(
        token=Token("jws", public={"role"}),
        keys=Keyring.from_file(keys),
        cookie_name="shop",
        insecure_http=True,
    )
    session = sessions.open(None)
    session["role"] = "admin"
    sessions.sync.commit(session)
    lines = [value for name, value in session._outgoing() if name == b"set-cookie"]
    token = lines[0].partition(b";")[0].partition(b"=")[2].decode()
    exported = run(capsys, "export-jwks", keys, "--cookie-name", "shop", "--insecure-http")
    key = jwt.PyJWKSet.from_json(exported).keys[0]
    claims = jwt.decode(token, key, algorithms=["EdDSA"], audience="shop", issuer="holdfast")
    assert "admin" in json.dumps(claims)


def test_export_paserk_fits_the_tokens(keys: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A reader with nothing but the export checks a PASETO of `Sessions`, by the key that its footer names."""
    import pyseto

    run(capsys, "add", keys)
    run(capsys, "add", keys)
    sessions = Sessions(
        token=Token("paseto", algorithm="v4.public", public={"role"}),
        keys=Keyring.from_file(keys),
        cookie_name="shop",
        insecure_http=True,
    )
    session = sessions.open(None)
    session["role"] = "admin"
    sessions.sync.commit(session)
    lines = [value for name, value in session._outgoing() if name == b"set-cookie"]
    token = lines[0].partition(b";")[0].partition(b"=")[2]
    exported = json.loads(run(capsys, "export-paserk", keys, "--cookie-name", "shop", "--insecure-http"))
    assert list(exported["keys"]) == ids(keys)
    footer = token.rpartition(b".")[2]
    kid = json.loads(base64.urlsafe_b64decode(footer + b"=" * (-len(footer) % 4)))["kid"]
    key, assertion = pyseto.Key.from_paserk(exported["keys"][kid]), exported["implicit_assertion"]
    opened = pyseto.decode(key, token, implicit_assertion=assertion.encode())
    assert b"admin" in opened.payload


@pytest.mark.parametrize("action", ["add", "rotate"])
def test_a_time_beyond_the_calendar_is_refused(
    keys: str, capsys: pytest.CaptureFixture[str], action: str
) -> None:
    """In one line, and nothing is written."""
    run(capsys, "add", keys)
    before = ids(keys)
    assert "--wait" in refused(capsys, action, keys, "--wait", "9999999d")
    assert ids(keys) == before
