"""Every parser that bytes from a client reach, as one function each that raises nothing but what a bug raises.

`TARGETS` is what both the property tests and the coverage-guided fuzz call. A target says whether it has accepted the
input; what it accepts has to be one of the tokens that were issued here (`SEEDS`), to the byte.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from typing import Any

from msgpack import packb

from holdfast import BadToken, Keyring, Record, Token, codec
from holdfast.cookies import Cookies
from holdfast.floor import Floor, FloorToken
from holdfast.tokens import Secrecy, claims, compact
from holdfast.tokens.carriers import InHeader
from holdfast.tokens.chunks import TokenCookies
from holdfast.tokens.pairs import Pairs
from holdfast.tokens.sealing import Sealing
from holdfast.tokens.snapshots import SnapshotToken

NOW = 1_800_000_000.25
RING = Keyring(
    ["the fuzz's own key, which guards nothing at all", "and an older one of which the same is true"]
)
IDENTITY = bytes(range(16))
VALUES = {"name": codec.encode("Ada", "name"), "cart": codec.encode(["tea", 3, None], "cart")}
RECORD = Record(7, b"\x01" * 8, VALUES, "user-42", NOW - 60, NOW + 600)

FORMATS = {
    "jwe": Token(),
    "jwe json": Token(text="json"),
    "jws EdDSA": Token("jws", public=VALUES),
    "jws ES256": Token("jws", algorithm="ES256", public=VALUES),
    "jws HS256": Token("jws", algorithm="HS256", public=VALUES),
    "paseto local": Token("paseto"),
    "paseto public": Token("paseto", algorithm="v4.public", public=VALUES),
}
SEALINGS = {name: Sealing(token, RING, "app") for name, token in FORMATS.items()}
ISSUED = {name: sealing.seal(IDENTITY, RECORD, frozenset(), NOW) for name, sealing in SEALINGS.items()}

COOKIES = Cookies(RING, "session", insecure_http=False)
CHUNKS = TokenCookies(COOKIES)
LONG = SEALINGS["jwe"].seal(
    IDENTITY, RECORD._replace(values={"long": codec.encode("x" * 3600, "long")}), frozenset(), NOW
)
SNAPSHOTS = SnapshotToken(RING, COOKIES.name, Secrecy({"secret"}, "private"))
SNAPSHOT = (SNAPSHOTS.make(RECORD, NOW, IDENTITY, NOW) or "").encode()
FLOORS = FloorToken(RING, COOKIES.name)
FLOOR = FLOORS.make(Floor(7, b"\x01" * 8, NOW + 600, NOW), IDENTITY).encode()
PAIRS = Pairs(FORMATS["jws HS256"], RING, "api", private=Secrecy((), "private"), life=300.0)
PAIR = PAIRS.make(bytes(32), RECORD, 1, NOW)


def _opens(name: str) -> Callable[[bytes], bool]:
    """A token format, from the carrier's bytes to the record."""

    def target(data: bytes) -> bool:
        try:
            said = SEALINGS[name].open(data, NOW)
        except BadToken:
            return False
        assert said.record == RECORD, said
        # Of the two kinds of jwe each reads the other's, whatever it writes itself.
        assert data in ISSUED.values(), "accepted, but never issued"
        return True

    return target


def cookie_header(data: bytes) -> bool:
    """A `Cookie` header, its parts, and the token in them."""
    try:
        sent = CHUNKS.read(data)
        if sent is None:
            return False
        said = SEALINGS["jwe"].open(sent.token, NOW)
    except BadToken:
        return False
    assert said.identity == IDENTITY
    assert sent.token in (ISSUED["jwe"], LONG), "accepted, but never issued"
    return True


def identity_cookies(data: bytes) -> bool:
    """A `Cookie` header with identity, floor, pin and snapshot."""
    try:
        sent = COOKIES.read(data)
    except BadToken:
        return False
    if sent.identity is None:
        return False
    assert COOKIES.token(sent.identity).encode() in data, "accepted, but never issued"
    return True


def floor(data: bytes) -> bool:
    """A floor."""
    found = FLOORS.read(data, IDENTITY)
    assert found is None or data == FLOOR
    return found is not None


def snapshot(data: bytes) -> bool:
    """A snapshot."""
    found = SNAPSHOTS.read(data, IDENTITY, NOW)
    assert found is None or data == SNAPSHOT
    return found is not None


def bearer_header(data: bytes) -> bool:
    """An `Authorization` header."""
    try:
        said = PAIRS.open(data, NOW)
    except BadToken:
        return False
    assert said.owner == "user-42"
    assert data.strip(b" \t")[7:].strip(b" ") == PAIR.access.encode(), "accepted, but never issued"
    return True


def refresh_token(data: bytes) -> bool:
    """A refresh token, as far as it is read without a store."""
    try:
        said = PAIRS.read(data)
    except BadToken:
        return False
    assert said == (bytes(32), 1)
    assert data == PAIR.refresh.encode(), "accepted, but never issued"
    return True


def session_header(data: bytes) -> bool:
    """A token in a header of its own."""
    sent = InHeader().read([(b"holdfast-session", data)])
    try:
        return sent is not None and bool(SEALINGS["jwe"].open(sent.token, NOW))
    except BadToken:
        return False


def header(data: bytes) -> bool:
    """The header of a JOSE token. What is read has nothing in it but text."""
    try:
        found = compact.read_header(data)
    except BadToken:
        return False
    assert all(value is None or type(value) is str for value in found)
    return False  # a header alone opens nothing


def base64url(data: bytes) -> bool:
    """Base64url: read or refused exactly as its one spelling says."""
    try:
        found = compact.unpack(data)
    except BadToken:
        return False
    assert urlsafe_b64encode(found).rstrip(b"=") == data == compact.pack(found)
    assert urlsafe_b64decode(data + b"=" * (-len(data) % 4)) == found
    return False


class _Unsealed:
    """Stands in the place of a format whose seal was good: claims by somebody who has the key, but not our code."""

    def __init__(self, read: Callable[[bytes], Any]) -> None:
        self._read = read

    def open(self, token: bytes, now: float) -> dict[str, Any]:
        found: dict[str, Any] = self._read(token)
        claims.check(found, issuer="holdfast", audience="app", now=now)
        return found

    def is_newest(self, token: bytes) -> bool:
        return True


def _claims(name: str) -> Callable[[bytes], bool]:
    """What stands in a token whose seal is good: it becomes a sound record, or nothing."""
    from holdfast.tokens.jwe import _unpacked

    sealing = Sealing(FORMATS[name], RING, "app")
    sealing._format = _Unsealed(_unpacked if name == "jwe" else compact.read_json)

    def target(data: bytes) -> bool:
        try:
            record = sealing.open(data, NOW).record
        except BadToken:
            return False
        assert NOW < record.expires_at < 2**53
        assert record.version > 0
        assert len(record.tag) == 8
        assert all(type(name) is str and type(data) is bytes for name, data in record.values.items())
        (record.owner or "").encode()
        return True

    return target


# Between the parts of a token that is given as the bytes which its base64 stands for.
_BETWEEN = b"\n.\n"
_HEADS = {"paseto local": b"v4.local.", "paseto public": b"v4.public."}
_PACKED = ["jwe", "jws HS256", "paseto local", "paseto public", "snapshot", "refresh token"]


def _packed(name: str) -> Callable[[bytes], bool]:
    """A target behind its base64, which a mutation of single characters seldom gets through."""

    def target(data: bytes) -> bool:
        parts = b".".join(compact.pack(part) for part in data.split(_BETWEEN))
        return TARGETS[name](_HEADS.get(name, b"") + parts)

    return target


TARGETS: dict[str, Callable[[bytes], bool]] = {
    **{name: _opens(name) for name in FORMATS},
    **{f"{name}, packed": _packed(name) for name in _PACKED},
    "cookie header": cookie_header,
    "identity cookies": identity_cookies,
    "floor": floor,
    "snapshot": snapshot,
    "bearer header": bearer_header,
    "refresh token": refresh_token,
    "session header": session_header,
    "header": header,
    "base64url": base64url,
    "claims in msgpack": _claims("jwe"),
    "claims in json": _claims("jws HS256"),
}


def _plain(name: str) -> dict[str, Any]:
    sealing = SEALINGS[name]
    return sealing._format.open(ISSUED[name], NOW)


def _in_parts(token: bytes) -> bytes:
    lines = [value.split(b";")[0] for _, value in CHUNKS.write(token, max_age=600, had=())]
    return b"other=1; " + b"; ".join(lines)


# For each target, inputs that it accepts, from which others are made.
SEEDS: dict[str, list[bytes]] = {
    **{name: [token] for name, token in ISSUED.items()},
    "cookie header": [_in_parts(ISSUED["jwe"]), _in_parts(LONG)],
    "identity cookies": [
        b"__Host-session=%b; __Host-session-floor=%b; __Host-session-pin=1; __Host-session-snapshot=%b"
        % (COOKIES.token(bytes(32)).encode(), FLOOR, SNAPSHOT)
    ],
    "floor": [FLOOR],
    "snapshot": [SNAPSHOT],
    "bearer header": [b"Bearer " + PAIR.access.encode()],
    "refresh token": [PAIR.refresh.encode()],
    "session header": [ISSUED["jwe"]],
    "header": [ISSUED["jws EdDSA"].partition(b".")[0]],
    "base64url": [b"AAECAwQ-_w"],
    "claims in msgpack": [packb(_plain("jwe"))],
    "claims in json": [compact.write_json(_plain("jws HS256"))],
}
SEEDS |= {
    f"{name}, packed": [
        _BETWEEN.join(map(compact.unpack, SEEDS[name][0].removeprefix(_HEADS.get(name, b"")).split(b".")))
    ]
    for name in _PACKED
}
NEVER_ACCEPT = {"header", "base64url"}


def fire(data: bytes) -> None:
    """One input of the fuzz: its first byte says at which target."""
    if data:
        TARGETS[NAMES[data[0] % len(NAMES)]](data[1:])


NAMES = sorted(TARGETS)
