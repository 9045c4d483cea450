"""What access and refresh tokens say, who can read them, and which are refused."""

from __future__ import annotations

import json
import time
from typing import Any

import jwt
import pytest

from holdfast import BadToken, Bearer, ConfigError, Keyring, SessionTooLarge, Token
from holdfast.jwks import jwks
from holdfast.testing import FakeClock
from holdfast.tokens.compact import pack, unpack
from recording import RecordingStore

KEYS = Keyring.generate()
VALUES = {"role": "admin", "oauth_token": "xyzzy-secret"}

FORMATS = {
    "jwe": Token(),
    "jwe-json": Token(text="json"),
    "jws-EdDSA": Token("jws", public={"role"}),
    "jws-ES256": Token("jws", algorithm="ES256", public={"role"}),
    "jws-HS256": Token("jws", algorithm="HS256", public={"role"}),
    "paseto-local": Token("paseto"),
    "paseto-public": Token("paseto", algorithm="v4.public", public={"role"}),
}
READABLE = ("jws-EdDSA", "jws-ES256", "jws-HS256", "paseto-public")


def bearer(token: Token | None = None, **settings: Any) -> Bearer:
    settings = {"keys": KEYS, "clock": FakeClock(), **settings}
    return Bearer(settings.pop("store", RecordingStore()), token, **settings)


def refusal(bearer: Bearer, token: str | bytes) -> str:
    with pytest.raises(BadToken) as caught:
        bearer.sync.refresh(token)
    return caught.value.reason


@pytest.mark.parametrize("name", FORMATS)
def test_every_format(name: str) -> None:
    """The same calls, the same claims; and nobody without the key reads what was not named as public."""
    token = FORMATS[name]
    here = bearer(token)
    pair = here.sync.issue("user-42", VALUES)
    pair = here.sync.refresh(pair.refresh)
    claims = here.open(f"Bearer {pair.access}")
    readable = name in READABLE
    assert claims.owner == "user-42"
    assert dict(claims.values) == ({"role": "admin"} if readable else VALUES)
    assert dict(here.sync.load(claims.handle).values) == VALUES
    parts = [unpack(part.encode()) for part in pair.access.split(".")[0 if "j" in name[0] else 2 :]]
    assert any(b"admin" in part for part in parts) == readable
    assert not any(b"xyzzy" in part for part in parts)


@pytest.mark.parametrize("name", ["jwe", "paseto-local"])
def test_what_is_private_stays_in_the_store(name: str) -> None:
    """By name or by prefix, in tokens that only the application reads too."""
    here = bearer(FORMATS[name], private={"oauth_*", "note"})
    pair = here.sync.issue("user-42", {**VALUES, "note": ("a", 1)})
    for each in (pair, here.sync.refresh(pair.refresh)):
        claims = here.open(f"Bearer {each.access}")
        assert dict(claims.values) == {"role": "admin"}
        assert dict(here.sync.load(claims.handle).values) == {**VALUES, "note": ("a", 1)}


def test_one_name_is_no_list_of_names() -> None:
    """A text in the place of a list would take away what is named by its letters, and leave the right where it is."""
    here = bearer(FORMATS["jwe"])
    handle = here.open(f"Bearer {here.sync.issue('user-42', {'role': 'admin'}).access}").handle
    with pytest.raises(TypeError, match="list of names"):
        here.sync.change(handle, {}, unset="role")


@pytest.mark.parametrize("call", ["issue", "change"])
@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"role": ("a", "tuple")}, TypeError),
        ({"role": b"bytes"}, TypeError),
        ({"other": object()}, TypeError),
        ({3: "three"}, TypeError),
        ({"\0refresh": b"state"}, TypeError),
        ({"role": "x" * 7000}, SessionTooLarge),
    ],
)
def test_what_cannot_be_told_is_not_stored(call: str, values: dict[str, Any], error: type[Exception]) -> None:
    """It is refused when it is put in, with nothing written, so that no refresh fails for it later."""
    store = RecordingStore()
    here = bearer(FORMATS["jws-EdDSA"], store=store)
    pair = here.sync.issue("user-42", {"role": "reader"})
    handle = here.open(f"Bearer {pair.access}").handle
    store.taken()
    with pytest.raises(error):
        here.sync.issue("user-42", values) if call == "issue" else here.sync.change(handle, values)
    assert set(store.taken()) <= {"load"}
    assert here.open(f"Bearer {here.sync.refresh(pair.refresh).access}").values == {"role": "reader"}


def test_too_large_says_what_to_do() -> None:
    """It names the largest keys; a proxy that cuts a header off at 8 KB is not met in production first."""
    with pytest.raises(SessionTooLarge, match=r"'cart' \(7\d\d\d bytes\).*private=") as caught:
        bearer().sync.issue("user-42", {"cart": "x" * 7000, "role": "admin"})
    assert "6144 are allowed" in str(caught.value)
    here = bearer(private={"cart"})
    pair = here.sync.issue("user-42", {"cart": "x" * 7000, "role": "admin"})
    assert here.open(f"Bearer {pair.access}").values == {"role": "admin"}


@pytest.mark.parametrize("length", range(4540, 4560))
def test_whatever_is_issued_is_opened(length: int) -> None:
    """At the limit and around it: what is too long for `open` was too long for `issue`."""
    here = bearer()
    try:
        pair = here.sync.issue("user-42", {"cart": "x" * length})
    except SessionTooLarge:
        return
    assert here.open(f"Bearer {pair.access}").values == {"cart": "x" * length}
    assert len(f"authorization: Bearer {pair.access}\r\n") <= 6144


@pytest.mark.parametrize("owner", ["", None, 42, b"user-42"])
def test_an_owner_is_a_text(owner: Any) -> None:
    """A session of nobody's is no sign-in."""
    with pytest.raises(TypeError, match="owner"):
        bearer().sync.issue(owner)


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256"])
def test_other_services_read_access_tokens(algorithm: str) -> None:
    """PyJWT with the published key set takes them, and so it does after a key was rotated."""
    token = Token("jws", algorithm=algorithm, public={"role"}, issuer="https://shop.example", audience="shop")
    old, new = Keyring.new_secret(), Keyring.new_secret()
    store = RecordingStore()
    before, ring = Keyring([old]), Keyring([new, old])
    here, there = (bearer(token, keys=keys, store=store, clock=time.time) for keys in (before, ring))
    pair = here.sync.issue("user-42", VALUES)
    renewed = there.sync.refresh(pair.refresh)
    late = bearer(token, keys=ring, clock=FakeClock()).sync.issue("user-42")
    published = json.loads(jwks(ring, token, bearer="api"))["keys"]
    keys = {key["kid"]: jwt.PyJWK(key) for key in published}
    assert len(keys) == 2

    def read(access: str, audience: str = "shop") -> dict[str, Any]:
        key = keys[jwt.get_unverified_header(access)["kid"]]
        issuer = "https://shop.example"
        return jwt.decode(access, key, algorithms=[algorithm], issuer=issuer, audience=audience)

    for access in (pair.access, renewed.access):
        claims = read(access)
        assert (claims["sub"], claims["role"]) == ("user-42", "admin")
        assert 0 < claims["exp"] - time.time() <= 300
        assert claims["jti"] == there.open(f"Bearer {access}").handle
        assert "oauth_token" not in claims
        with pytest.raises(jwt.InvalidAudienceError):
            read(access, "api")
    with pytest.raises(jwt.ExpiredSignatureError):
        read(late.access)


def test_rotated_keys_sign_nobody_out() -> None:
    """A refresh token of an old key is exchanged for one of the new key; without the old key it is unknown."""
    old, new = Keyring.new_secret(), Keyring.new_secret()
    store, clock = RecordingStore(), FakeClock()
    first, both, last = (
        bearer(keys=Keyring(ring), store=store, clock=clock) for ring in ([old], [new, old], [new])
    )
    pair = first.sync.issue("user-42", VALUES)
    renewed = both.sync.refresh(pair.refresh)
    assert last.open(f"Bearer {last.sync.refresh(renewed.refresh).access}").values == VALUES
    store.taken()
    assert refusal(last, pair.refresh) == "unknown key"
    assert store.taken() == []


class TestForgery:
    """No byte of a refresh token is any other than we made it, and none is taken for another kind of token."""

    def test_every_byte_and_every_bit(self) -> None:
        """Of a token that is good: with any bit of it changed it is refused, without a question to the store."""
        store = RecordingStore()
        here = bearer(store=store)
        good = here.sync.issue("user-42").refresh.encode()
        store.taken()
        raw = unpack(good)
        reasons = {
            refusal(here, pack(raw[:at] + bytes([raw[at] ^ 1 << bit]) + raw[at + 1 :]))
            for at in range(len(raw))
            for bit in range(8)
        }
        assert reasons == {"unknown key", "bad mac"}
        for at in range(len(good)):
            for other in (b"A", b"-", b"=", b"+", b" ", b"\0", b"\xff"):
                if other != good[at : at + 1]:
                    assert refusal(here, good[:at] + other + good[at + 1 :])
        assert store.taken() == []
        assert here.sync.refresh(good)

    def test_cut_off_and_lengthened(self) -> None:
        """At every place, and by what base64 decoders like to overlook."""
        store = RecordingStore()
        here = bearer(store=store)
        good = here.sync.issue("user-42").refresh
        store.taken()
        for end in range(len(good)):
            assert refusal(here, good[:end]) == "malformed"
            assert refusal(here, good[end + 1 :]) == "malformed"
        for more in ("=", "==", "A", "\n", " ", ".", "\0", "A" * 1_000_000):
            assert refusal(here, good + more) == "malformed"
            assert refusal(here, more + good) == "malformed"
        for text in ("", "é" * len(good), "\U0001f6d2" * len(good), "\ud800" * len(good)):
            assert refusal(here, text) == "malformed"
        assert store.taken() == []

    @pytest.mark.parametrize(
        "token", [None, 123, 1.5, True, [], ["a"] * 103, {}, {"a": 1}, bytearray(103)], ids=repr
    )
    async def test_what_json_can_hold_instead_of_a_text(self, token: Any) -> None:
        """A client's `{"refresh_token": 123}` is a refused token in each call, not a server's error."""
        store = RecordingStore()
        here = bearer(store=store)
        for call in (here.refresh, here.revoke, here.check):
            with pytest.raises(BadToken) as caught:
                await call(token)
            expected = "no bearer token" if token is None and call == here.check else "malformed"
            assert caught.value.reason == expected
        for sync_call in (here.sync.refresh, here.sync.revoke, here.sync.check, here.open):
            with pytest.raises(BadToken):
                sync_call(token)
        assert store.taken() == []

    def test_another_spelling_of_the_same_bytes(self) -> None:
        """Base64 leaves bits over in the last character: each token has one spelling."""
        here = bearer()
        good = here.sync.issue("user-42").refresh
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        for last in alphabet:
            if last != good[-1]:
                assert refusal(here, good[:-1] + last)

    def test_a_generation_cannot_be_chosen(self) -> None:
        """The parts of two good tokens make no third: neither generation nor family can be exchanged."""
        here = bearer()
        first, other = here.sync.issue("user-42"), here.sync.issue("user-43")
        second = here.sync.refresh(first.refresh)
        a, b, c = (unpack(each.refresh.encode()) for each in (first, second, other))
        for at in range(5, len(a) - 32):
            for one, two in ((a, b), (b, a), (a, c), (c, b)):
                mixed = one[:at] + two[at:]
                if mixed not in (a, b, c):
                    assert refusal(here, pack(mixed)) == "bad mac"

    @pytest.mark.parametrize("name", FORMATS)
    def test_access_and_refresh_tokens_are_not_exchanged(self, name: str) -> None:
        """Neither is good for what the other is for."""
        store = RecordingStore()
        here = bearer(FORMATS[name], store=store)
        pair = here.sync.issue("user-42", VALUES)
        store.taken()
        assert refusal(here, pair.access) == "malformed"
        with pytest.raises(BadToken):
            here.open(f"Bearer {pair.refresh}")
        assert store.taken() == []

    @pytest.mark.parametrize("name", FORMATS)
    def test_another_bearer_and_other_keys(self, name: str) -> None:
        """On the same store: tokens of one application's Bearer open nothing of another's."""
        store, clock = RecordingStore(), FakeClock()
        here = bearer(FORMATS[name], store=store, clock=clock)
        pair = here.sync.issue("user-42", VALUES)
        store.taken()
        mobile = bearer(FORMATS[name], store=store, clock=clock, name="mobile")
        stranger = bearer(FORMATS[name], store=store, clock=clock, keys=Keyring.generate())
        assert refusal(mobile, pair.refresh) == "bad mac"
        assert refusal(stranger, pair.refresh) == "unknown key"
        for other in (mobile, stranger):
            with pytest.raises(BadToken):
                other.open(f"Bearer {pair.access}")
            with pytest.raises(BadToken):
                other.sync.revoke(pair.refresh)
        assert store.taken() == []
        assert here.open(f"Bearer {pair.access}").owner == "user-42"

    def test_an_access_token_tells_no_secret(self) -> None:
        """Who reads one, or the whole store, cannot make a refresh token of it."""
        store = RecordingStore()
        here = bearer(FORMATS["jws-EdDSA"], store=store)
        pair = here.sync.issue("user-42", VALUES)
        family = unpack(pair.refresh.encode())[5:37]
        body = unpack(pair.access.split(".")[1].encode())
        assert family.hex().encode() not in body
        assert pack(family)[:40] not in body
        (key,) = store._records
        assert family.hex() not in key + repr(store._records[key])


class TestAuthorization:
    """Reading the header of a request (RFC 6750, 2.1)."""

    @pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER ", "Bearer   ", " Bearer "])
    def test_the_scheme_is_read_as_http_has_it(self, scheme: str) -> None:
        """In any case, with spaces around (RFC 9110, 11.1)."""
        here = bearer()
        access = here.sync.issue("user-42").access
        assert here.open(scheme + access).owner == "user-42"
        assert here.open((scheme + access + " ").encode()).owner == "user-42"

    @pytest.mark.parametrize(
        "header",
        [None, "", b"", " ", "Bearer", "Bearer ", "Basic YTpi", "Bearerx", "Digest a", "DPoP {}", "{}"],
    )
    def test_no_token(self, header: str | bytes | None) -> None:
        """A request without one, or with another scheme, is told that one is needed and no more."""
        here = bearer()
        access = here.sync.issue("user-42").access
        if isinstance(header, str):
            header = header.replace("{}", access)
        with pytest.raises(BadToken) as caught:
            here.open(header)
        assert caught.value.reason == "no bearer token"
        assert here.challenge(caught.value) == 'Bearer realm="api"'

    @pytest.mark.parametrize(
        "token", ["x", "a b", "\u20ac", "\ud800", "x" * 100_000, "a.b.c", "a.b.c.d.e", "\0", '"']
    )
    def test_garbage(self, token: str) -> None:
        """It is refused, whatever it is, with a challenge that does not repeat it."""
        here = bearer()
        with pytest.raises(BadToken) as caught:
            here.open(f"Bearer {token}")
        assert here.challenge(caught.value) == 'Bearer realm="api", error="invalid_token"'

    def test_expired(self) -> None:
        """The client is told so: it is time for a refresh."""
        clock = FakeClock()
        here = bearer(clock=clock)
        pair = here.sync.issue("user-42")
        clock.advance(299)
        assert here.open(f"Bearer {pair.access}").owner == "user-42"
        clock.advance(1)
        with pytest.raises(BadToken) as caught:
            here.open(f"Bearer {pair.access}")
        expected = 'Bearer realm="api", error="invalid_token", error_description="expired"'
        assert here.challenge(caught.value) == expected

    def test_a_challenge_without_a_reason(self) -> None:
        """For an application that knows only that nobody is signed in."""
        assert bearer(name="my shop").challenge() == 'Bearer realm="my shop"'

    def test_the_answer_is_in_the_words_of_oauth(self) -> None:
        """RFC 6749, 5.1, so that any client's library reads it."""
        pair = bearer().sync.issue("user-42")
        assert pair.answer() == {
            "access_token": pair.access,
            "token_type": "Bearer",
            "expires_in": 300,
            "refresh_token": pair.refresh,
        }
        assert json.loads(json.dumps(pair.answer())) == pair.answer()


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"access": "31d"}, "shorter than idle"),
        ({"access": "30d"}, "shorter than idle"),
        ({"access": "10m", "absolute": "10m"}, "shorter than idle"),
        ({"access": "0s"}, "access"),
        ({"access": "soon"}, "access"),
        ({"idle": -1}, "idle"),
        ({"grace": "30d"}, "grace"),
        ({"grace": -1}, "grace"),
        ({"grace": float("nan")}, "grace"),
        ({"name": ""}, "name"),
        ({"name": 'a"b'}, "name"),
        ({"name": "a\r\nb"}, "name"),
        ({"private": "oauth_token"}, "private"),
        ({"token": Token("jws", public={"role"}), "private": {"ro*"}}, "cannot be public and private"),
        ({"token": Token(private={"a"}, spill=RecordingStore())}, "leave private= and spill= out"),
        ({"token": Token(spill="memory://")}, "leave private= and spill= out"),
        ({"token": Token(revocation="memory://")}, "MemoryStore"),
        ({"store": "memcached://127.0.0.1"}, "forgets"),
        ({"store": object()}, "is no store"),
        ({"keys": "short"}, "too short"),
    ],
)
def test_what_could_not_work_is_an_error_at_the_start(settings: dict[str, Any], text: str) -> None:
    """With a text that says what to do."""
    with pytest.raises(ConfigError, match=text):
        bearer(**settings)
