"""No key is used for two things: every purpose of every application has its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from holdfast import BadToken, ConfigError, Keyring, Sessions
from holdfast.bearer import Bearer
from holdfast.cookies import IdentityToken
from holdfast.derived import DerivedKeys
from holdfast.key import Key, key_of_secret
from holdfast.stores.memory import MemoryStore
from holdfast.tokens import ALGORITHMS, Token

SECRET = Keyring.new_secret()


def every_application(ring: Keyring) -> None:
    """Make one of each thing that takes keys, for two names."""
    for name in ("a", "b"):
        tokens = [
            Token(format, algorithm=algorithm)  # type: ignore[arg-type]  # the table's own words
            for format, known in ALGORITHMS.items()  # noqa: A001
            for algorithm in known
        ]
        for transport in ("cookie", "header"):
            about: Any = {"keys": ring, "cookie_name": name, "transport": transport}
            Sessions(MemoryStore(), snapshot="30s", detect_loss=True, **about)
            for token in tokens:
                Sessions(token=token, **about)
        for token in tokens:
            Bearer(MemoryStore(), token, keys=ring, name=name)


@pytest.fixture
def derived(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Every purpose that is asked for while applications of all kinds are made, and its key."""
    ring, found = Keyring([SECRET]), dict[str, bytes]()
    original = Keyring.derived

    def noted(self: Keyring, purpose: str) -> DerivedKeys:
        keys = original(self, purpose)
        found[purpose] = keys.newest()[1]
        return keys

    monkeypatch.setattr(Keyring, "derived", noted)
    every_application(ring)
    return found


def test_no_two_purposes_share_a_key(derived: dict[str, bytes]) -> None:
    """Of cookies, floors, snapshots, refresh tokens, and every algorithm of every format, in two applications."""
    assert len(set(derived.values())) == len(derived)
    for word in (
        "identity cookie",
        "identity cookie header",
        "floor",
        "snapshot",
        "refresh token",
        *(f"jws {algorithm}" for algorithm in ALGORITHMS["jws"]),
        "jwe dir A256GCM",
        "paseto v4 local",
        "paseto v4 public",
    ):
        assert sum(purpose.startswith(word) for purpose in derived) >= 2, word
    assert SECRET.encode() not in derived.values()
    assert key_of_secret(SECRET).root not in derived.values()


def test_no_name_can_turn_one_purpose_into_another(derived: dict[str, bytes]) -> None:
    """A name stands at the end. Where what is before it begins another purpose, the name would need a space in it."""
    before = {purpose.removesuffix("a") for purpose in derived if purpose.endswith("a")}
    overlaps = [(one, other) for one in before for other in before if one != other and other.startswith(one)]
    for one, other in overlaps:
        assert one.startswith("identity cookie ") or " session " in one, one
        with pytest.raises(ConfigError, match="name of a cookie"):
            Sessions("memory://", cookie_name=f"{other.removeprefix(one)}a")


def test_a_token_of_one_application_is_nothing_in_another() -> None:
    """Of the same ring, under another name of the cookie."""
    ring = Keyring([SECRET])
    token = IdentityToken(ring, "__Host-a").make(b"i" * 32).encode()
    assert IdentityToken(ring, "__Host-a").read(token) == b"i" * 32
    with pytest.raises(BadToken, match="bad mac"):
        IdentityToken(ring, "__Host-b").read(token)


@pytest.mark.parametrize("show", [repr, str, "{}".format], ids=["repr", "str", "format"])
def test_nothing_prints_a_secret(show: Callable[[object], str]) -> None:
    """Neither the secret nor what keys are derived from, wherever a ring turns up in a log."""
    ring = Keyring([SECRET])
    key: Key = ring.keys[0]
    for thing in (ring, key, [key], {"k": key}, ring.state, ring.derived("p"), ring.marker("p")):
        shown = show(thing)
        assert SECRET not in shown
        assert repr(key.root)[2:-1] not in shown
        assert key.root.hex() not in shown
