"""Only issued tokens count: whatever else a client sends costs nothing and opens nothing (promise 5)."""

from __future__ import annotations

import base64
import random
import string
from collections.abc import Callable, Iterator

import pytest

from holdfast import BadToken, ConfigError, Keyring, Sessions
from holdfast.cookies import Cookies, key_of, new_identity
from recording import RecordingStore, planted

KEYS = Keyring.generate()
COOKIE = Cookies(KEYS, "session", insecure_http=False)
IDENTITY = new_identity()
TOKEN = COOKIE.token(IDENTITY)
NAME = b"__Host-session"
ALPHABET = string.ascii_letters + string.digits + "-_"


def header(token: str | bytes) -> bytes:
    return NAME + b"=" + (token.encode("latin-1") if isinstance(token, str) else token)


def test_what_is_issued_is_accepted() -> None:
    """Alone, among other cookies, and with white space around it."""
    for line in (
        header(TOKEN),
        b"a=b; " + header(TOKEN),
        b"a=b;" + header(TOKEN) + b"; c=d",
        b"a=b;  " + header(TOKEN) + b" ;c=d",
        b"x" + header(TOKEN)[:20] + b"; " + header(TOKEN),
        b"other=__Host-session; " + header(TOKEN),
    ):
        assert COOKIE.read(line).identity == IDENTITY


def test_a_cookie_of_another_name_is_none() -> None:
    """A name that only ends or begins like ours is another cookie."""
    for line in (b"", b"a=b", b"x" + header(TOKEN), b"__Host-sessions=" + TOKEN.encode(), b"__Host-session"):
        assert COOKIE.read(line).identity is None


def flipped(rng: random.Random) -> bytes:
    """One bit of one byte of a true token is another."""
    raw = bytearray(base64.urlsafe_b64decode(TOKEN))
    raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
    return header(base64.urlsafe_b64encode(raw))


def one_character(rng: random.Random) -> bytes:
    """One character of a true token is another one, of any kind."""
    place = rng.randrange(len(TOKEN))
    other = rng.choice([c for c in map(chr, range(256)) if c not in (TOKEN[place], ";", " ", "\t")])
    return header(TOKEN[:place] + other + TOKEN[place + 1 :])


def truncated(rng: random.Random) -> bytes:
    """A true token without its end or beginning."""
    cut = rng.randrange(1, len(TOKEN))
    return header(TOKEN[:-cut] if rng.random() < 0.5 else TOKEN[cut:])


def extended(rng: random.Random) -> bytes:
    """A true token with something before or after it."""
    more = "".join(rng.choices(ALPHABET + "=.%\"'", k=rng.randrange(1, 9)))
    return header(TOKEN + more if rng.random() < 0.5 else more + TOKEN)


def garbage(rng: random.Random) -> bytes:
    """Any bytes."""
    return header(rng.randbytes(rng.randrange(200)).replace(b";", b","))


def well_formed(rng: random.Random) -> bytes:
    """The right length and alphabet, and sometimes the right key id too."""
    raw = rng.randbytes(69)
    if rng.random() < 0.5:
        raw = base64.urlsafe_b64decode(TOKEN)[:5] + raw[5:]
    return header(base64.urlsafe_b64encode(raw))


def oversized(rng: random.Random) -> bytes:
    """Much more than any browser sends."""
    return header(rng.choice([TOKEN, "A", "=", "\xff", " "]) * rng.randrange(100, 400))


def duplicated(rng: random.Random) -> bytes:
    """Two of them, even if one or both are true: no rule tells which one was planted."""
    other = rng.choice([header(TOKEN), garbage(rng), header("")])
    pair = [header(TOKEN), other]
    rng.shuffle(pair)
    return rng.choice([b"; ", b";", b";\t"]).join(pair)


def non_ascii(rng: random.Random) -> bytes:
    """Text of other scripts in the place of a token, in raw bytes."""
    return header("".join(chr(rng.randrange(0xA0, 0x2FFF)) for _ in range(rng.randrange(1, 100))).encode())


FOREIGN = [
    Cookies(Keyring.generate(), "session", insecure_http=False),
    Cookies(KEYS, "other", insecure_http=False),
    Cookies(KEYS, "session", insecure_http=True),
]


def foreign(rng: random.Random) -> bytes:
    """A true token of another installation, another application, or another kind of cookie."""
    return header(rng.choice(FOREIGN).token(rng.randbytes(32)))


def quoted(rng: random.Random) -> bytes:
    """Forms of a cookie that other parsers would take: quotes, percent signs, standard base64, padding."""
    standard = base64.b64encode(base64.urlsafe_b64decode(TOKEN)).decode()
    return header(
        rng.choice(
            [f'"{TOKEN}"', f"'{TOKEN}'", f"{TOKEN}=", f"{TOKEN}%20", f"{TOKEN},{TOKEN}", f"{standard}+/"]
        )
    )


KINDS: list[Callable[[random.Random], bytes]] = [
    flipped,
    one_character,
    truncated,
    extended,
    garbage,
    well_formed,
    oversized,
    duplicated,
    non_ascii,
    foreign,
    quoted,
]


def hostile(count: int, seed: int) -> Iterator[bytes]:
    """So many cookies, each kind in turn, the same for the same seed."""
    rng = random.Random(seed)
    for number in range(count):
        yield KINDS[number % len(KINDS)](rng)


def test_promise_5_only_issued_tokens_count() -> None:
    """110,000 hostile cookies: an anonymous session each, no store command, no exception."""
    store = RecordingStore()
    sessions = Sessions(store, keys=KEYS)
    for line in hostile(110_000, seed=20260):
        session = sessions.open(line)
        sessions.sync.load(session)
        assert session.is_new, line
        assert session.handle is None, line
        assert len(session) == 0, line
        sessions.sync.commit(session)
        assert planted(session) is None, line
    assert store.commands == []


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.__name__))
def test_each_kind_is_refused_for_a_reason(kind: Callable[[random.Random], bytes]) -> None:
    """And with none but the words that a log may hold."""
    rng = random.Random(7)
    reasons = set()
    for _ in range(500):
        with pytest.raises(BadToken) as caught:
            COOKIE.read(kind(rng))
        reasons.add(caught.value.reason)
    assert reasons <= {"malformed", "unknown key", "bad mac", "unknown version", "duplicated"}
    if kind is duplicated:
        assert reasons == {"duplicated"}


def test_the_property_fails_if_the_mac_is_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A seeded fault: with every MAC taken for good, hostile cookies get through."""
    monkeypatch.setattr("holdfast.derived.compare_digest", lambda left, right: True)
    accepted = 0
    for line in hostile(1_100, seed=1):
        try:
            accepted += COOKIE.read(line).identity is not None
        except BadToken:
            continue
    assert accepted > 50


def test_comparison_is_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The MAC goes through `hmac.compare_digest`, and nothing else decides."""
    calls: list[tuple[bytes, bytes]] = []

    def compare(left: bytes, right: bytes) -> bool:
        calls.append((left, right))
        return False

    monkeypatch.setattr("holdfast.derived.compare_digest", compare)
    with pytest.raises(BadToken, match="bad mac"):
        COOKIE.read(header(TOKEN))
    assert len(calls) == 1
    assert len(calls[0][0]) == len(calls[0][1]) == 32


def test_an_unknown_identity_with_a_valid_mac_is_one_load() -> None:
    """Its session is gone: anonymous, and the cookie is left alone."""
    store = RecordingStore()
    sessions = Sessions(store, keys=KEYS)
    session = sessions.open(header(TOKEN))
    sessions.sync.load(session)
    assert session.is_new
    sessions.sync.commit(session)
    assert store.commands == ["load"]
    assert planted(session) is None


def test_promise_9_a_stolen_database_is_not_a_set_of_stolen_sessions() -> None:
    """The store sees a hash: neither the identity nor the token is in it, and the hash opens nothing."""
    store = RecordingStore()
    sessions = Sessions(store, keys=KEYS)
    session = sessions.open(None)
    session["cart"] = ["tea"]
    sessions.sync.commit(session)
    assert planted(session) is not None
    token = planted(session).partition("=")[2].partition(";")[0]
    identity = COOKIE.open(token.encode())
    stored = repr(store._records)
    assert key_of(identity) in stored
    for secret in (identity.hex(), repr(identity)[2:-1], token, base64.urlsafe_b64encode(identity).decode()):
        assert secret not in stored
    handle = str(session.handle)
    for attempt in (handle, COOKIE.token(bytes.fromhex(handle))):
        thief = sessions.open(header(attempt))
        sessions.sync.load(thief)
        assert thief.is_new


def test_identities_are_fresh_from_the_operating_system() -> None:
    """32 random bytes each, never twice."""
    assert len({new_identity() for _ in range(1000)}) == 1000
    assert len(new_identity()) == 32


@pytest.mark.parametrize("name", ["", "a b", "a;b", "a=b", "ä", 'a"b', "x" * 65, "a\n"])
def test_a_name_that_no_cookie_can_have_is_refused(name: str) -> None:
    """At construction."""
    with pytest.raises(ConfigError):
        Cookies(KEYS, name, insecure_http=False)


def test_a_prefixed_name_does_not_go_with_plain_http() -> None:
    """Browsers would drop such a cookie silently."""
    with pytest.raises(ConfigError, match="plain http"):
        Cookies(KEYS, "__session", insecure_http=True)


def test_the_cookie_fits_into_what_browsers_keep() -> None:
    """4,096 bytes with name and attributes; ours are a small part of it (starlette#2412)."""
    lines = COOKIE.write(IDENTITY, fresh=True, floor="x" * 92, max_age=43_200, pin_seconds=6, long=False)
    assert len(lines) == 3
    assert max(len(value) for _, value in lines) < 250
