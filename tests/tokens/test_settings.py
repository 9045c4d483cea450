"""What cannot work, and what would silently protect nothing, is refused when an application starts."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from holdfast import Bearer, ConfigError, Keyring, Sessions
from holdfast.jwks import jwks, paserk
from holdfast.record import Change, Record
from holdfast.stores.memory import MemoryStore
from holdfast.tokens import Token
from holdfast.work import Work

KEYS = Keyring.generate()

BESIDE: dict[str, dict[str, Any]] = {
    "how soon an end arrives": {"revoke_within": "1s"},
    "the same, said as a store has it": {"revoke_within": "5s"},
    "strong reads": {"freshness": "strong"},
    "any copy": {"freshness": "any"},
    "what a loss does": {"regression": "end"},
    "an instance's copies": {"local": "1GB"},
    "no size": {"local": "junk"},
    "the age of copies": {"copy_age": "30s"},
    "no duration": {"copy_age": "junk"},
    "a store": {"store": "memory://"},
    "a cache": {"cache": MemoryStore()},
    "snapshots": {"snapshot": "30s"},
    "replicas": {"weak": True},
    "an outage": {"outage": "anonymous"},
    "private values": {"private": {"oauth_token"}},
}


@pytest.mark.parametrize("settings", BESIDE.values(), ids=BESIDE)
def test_what_says_nothing_to_a_token_is_refused_beside_one(settings: dict[str, Any]) -> None:
    """A setting that looks as if it guarded something is not silently ignored."""
    with pytest.raises(ConfigError, match=f"{next(iter(settings))}="):
        Sessions(token=Token(), keys=KEYS, **settings)


def test_revoke_within_needs_something_to_ask() -> None:
    """Without `revocation=` nobody is told of an ending, in whatever time."""
    with pytest.raises(ConfigError, match="revocation="):
        Token(revoke_within="1s")
    assert Token(revocation=MemoryStore()).revoke_within == 5.0


@pytest.mark.parametrize("pattern", ["*_token", "oauth*_x", "**", "a*b*"])
@pytest.mark.parametrize(
    "make",
    [
        lambda private: Token(private=private, spill=MemoryStore()),
        lambda private: Sessions("memory://", snapshot="30s", private=private),
        lambda private: Bearer(MemoryStore(), keys=KEYS, private=private),
    ],
    ids=["token", "snapshot", "bearer"],
)
def test_a_star_anywhere_but_at_the_end_is_refused(make: Callable[[Any], object], pattern: str) -> None:
    """It would be taken for a character of a name, and protect nothing."""
    with pytest.raises(ConfigError, match="star"):
        make({"fine", pattern})
    make({"fine", "oauth_*"})


def test_what_is_public_is_not_private_by_prefix_either() -> None:
    """One of the two would be wrong."""
    with pytest.raises(ConfigError, match="oauth_x"):
        Token("jws", public={"oauth_x"}, private={"oauth_*"}, spill=MemoryStore())


WRONG: dict[str, Callable[[], object]] = {
    "max_bytes as text": lambda: Token(max_bytes="6KB"),  # type: ignore[arg-type]  # the mistake
    "max_bytes as a truth": lambda: Token(max_bytes=True),
    "max_bytes with a fraction": lambda: Token(max_bytes=1000.5),  # type: ignore[arg-type]  # the mistake
    "private of nothing": lambda: Token(private=None),  # type: ignore[arg-type]  # the mistake
    "public of nothing": lambda: Token("jws", public=None),  # type: ignore[arg-type]  # the mistake
    "issuer as bytes": lambda: Token(issuer=b"x"),  # type: ignore[arg-type]  # the mistake
    "audience as a number": lambda: Token(audience=5),  # type: ignore[arg-type]  # the mistake
    "token as text": lambda: Sessions(token="jwe", keys=KEYS),  # type: ignore[arg-type]  # the mistake
    "token as its class": lambda: Sessions(token=Token, keys=KEYS),  # type: ignore[arg-type]  # the mistake
    "a Bearer's token as text": lambda: Bearer(MemoryStore(), "jws", keys=KEYS),  # type: ignore[arg-type]  # the mistake
    "a Bearer without a name": lambda: Bearer(MemoryStore(), keys=KEYS, name=None),  # type: ignore[arg-type]  # the mistake
    "keys too short for a set": lambda: jwks("secret", Token("jws")),
    "a set of a sealed token": lambda: jwks(KEYS, Token()),
    "a PASERK of a JWS": lambda: paserk(KEYS, Token("jws")),
    "a life beyond the calendar": lambda: Sessions(
        token=Token("paseto"), keys=KEYS, idle=10**12, absolute=10**12
    ),
}


@pytest.mark.parametrize("make", WRONG.values(), ids=WRONG)
def test_a_mistake_is_an_error_that_helps(make: Callable[[], object]) -> None:
    """`ConfigError` at the start: no other exception, and none at the first request."""
    with pytest.raises(ConfigError):
        make()


async def test_sessions_over_bearer_tokens_go_by_the_bearers_name() -> None:
    """Who gives a Bearer no name need not give one here either."""
    bearer = Bearer(MemoryStore(), keys=KEYS)
    pair = await bearer.issue("ann", {"role": "admin"})
    sessions = Sessions(token=Token(), keys=KEYS, transport="bearer")
    session = sessions.open(None, [(b"authorization", f"Bearer {pair.access}".encode())])
    await sessions.load(session)
    assert (session.owner, session["role"]) == ("ann", "admin")


def test_error_reports_that_show_variables_show_no_values() -> None:
    """Whatever a value was, it does not stand in a traceback with the locals of our functions."""
    secret = b"swordfish"
    record = Record(1, b"12345678", {"oauth_token": secret}, "ann", 1.0, 2.0)
    change = Change(b"12345678", 1.0, {"oauth_token": secret}, frozenset({"gone"}))
    work = Work({"oauth_token": secret}, frozenset({"gone"}), {})
    for each in (record, change, work):
        assert "swordfish" not in repr(each)
        assert "oauth_token: 9 bytes" in repr(each)


def test_no_identity_stands_in_a_report() -> None:
    """Who reads an error report of a request cannot go on with its session."""
    sessions = Sessions(token=Token("jws", public={"role"}), keys=KEYS, insecure_http=True)
    session = sessions.open(None)
    session["role"] = "admin"
    sessions.sync.commit(session)
    lines = [value for name, value in session._outgoing() if name == b"set-cookie"]
    sender: Any = sessions._engine.read(lines[0].partition(b";")[0])
    assert sender.handle in repr(sender)
    assert repr(sender.identity) not in repr(sender) + repr(sender.said)


@pytest.mark.parametrize(
    ("package", "extra", "make"),
    [
        ("cryptography", "tokens", lambda: Sessions(token=Token(), keys=KEYS)),
        ("cryptography", "tokens", lambda: Sessions(token=Token("jws"), keys=KEYS)),
        ("cryptography", "tokens", lambda: Sessions("memory://", snapshot="30s", keys=KEYS)),
        ("cryptography", "tokens", lambda: Bearer("memory://", keys=KEYS)),
        ("cryptography", "tokens", lambda: jwks(KEYS, Token("jws"))),
        ("pyseto", "paseto", lambda: Sessions(token=Token("paseto"), keys=KEYS)),
        ("pyseto", "paseto", lambda: paserk(KEYS, Token("paseto", algorithm="v4.public"))),
    ],
)
def test_a_missing_library_is_told_when_the_application_starts(
    package: str, extra: str, make: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the line that installs it, and not by the first request."""
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf"needs {package}: pip install 'holdfast\[{extra}\]'"):
        make()


def test_what_needs_no_library_works_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """HS256 is in the standard library."""
    monkeypatch.setitem(sys.modules, "cryptography", None)
    Sessions(token=Token("jws", algorithm="HS256"), keys=KEYS)
