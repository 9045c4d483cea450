"""Every bit of every token changed, every place cut and extended: refused with the right reason (OWASP ASVS 9.1.1)."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from collections.abc import Callable

import pytest
from fuzz_targets import (
    FLOOR,
    FLOORS,
    IDENTITY,
    ISSUED,
    NOW,
    PAIR,
    PAIRS,
    SEALINGS,
    SNAPSHOT,
    SNAPSHOTS,
    TARGETS,
)

from holdfast import BadToken
from holdfast.tokens.compact import pack, unpack

FORMATS = sorted(ISSUED)
# What is said of a token whose seal is wrong.
WRONG = {
    name: "bad mac" if name.startswith("jwe") or "local" in name else "bad signature" for name in FORMATS
}
# What may be said of a header, or a PASETO's footer, before a key is used.
OF_HEADERS = {"malformed", "header not allowed", "wrong algorithm", "wrong type", "unknown key"}


def reason(open_: Callable[[bytes, float], object], token: bytes, now: float) -> str | None:
    """Why a token is refused; None if it is accepted. Any other exception fails the test."""
    try:
        open_(token, now)
    except BadToken as error:
        return error.reason
    return None


def is_one_spelling(part: bytes) -> bool:
    """Whether it is base64url as it has to be, told by other means than ours."""
    try:
        raw = urlsafe_b64decode(part + b"=" * (-len(part) % 4))
    except (Error, ValueError):
        return False
    return urlsafe_b64encode(raw).rstrip(b"=") == part


def expected(name: str, token: bytes, changed: bytes, place: int) -> set[str]:
    """The reasons that may be given for a token in which one character at `place` was changed."""
    if changed.count(b".") != token.count(b"."):
        return {"malformed", "wrong type"}
    dots = [at for at, byte in enumerate(token) if byte == ord(".")]
    part = sum(at < place for at in dots)
    if name.startswith("paseto"):
        if part < 2:
            return {"malformed", "wrong type"}
        if part == 3:
            return OF_HEADERS
    elif part == 0:
        # Another hour in a key's name is another key of ours, which has not sealed this.
        return OF_HEADERS | {"bad mac"} if name.startswith("jwe") else OF_HEADERS
    elif name.startswith("jws") and part == 1:
        return {WRONG[name]}  # the text itself is signed
    return {WRONG[name]} if is_one_spelling(changed.split(b".")[part]) else {"malformed"}


@pytest.mark.parametrize("name", FORMATS)
def test_every_bit_counts(name: str) -> None:
    """Of the header, the key's name, the nonce, the claims and the seal: each is told by the reason."""
    token, sealing = ISSUED[name], SEALINGS[name]
    assert reason(sealing.open, token, NOW) is None
    met = set()
    for place in range(len(token)):
        for bit in range(8):
            changed = bytearray(token)
            changed[place] ^= 1 << bit
            flipped = bytes(changed)
            said = reason(sealing.open, flipped, NOW)
            assert said in expected(name, token, flipped, place), (place, bit, said)
            met.add(said)
    assert {"malformed", WRONG[name]} <= met


@pytest.mark.parametrize("name", FORMATS)
def test_a_token_cut_anywhere_is_none(name: str) -> None:
    """From behind, from the front, and in the middle."""
    token, sealing = ISSUED[name], SEALINGS[name]
    allowed = OF_HEADERS | {WRONG[name]}
    for place in range(len(token)):
        for cut in (token[:place], token[place + 1 :], token[:place] + token[place + 1 :]):
            assert reason(sealing.open, cut, NOW) in allowed, place


@pytest.mark.parametrize("name", FORMATS)
def test_a_token_made_longer_anywhere_is_none(name: str) -> None:
    """By a character of the alphabet, padding, a dot, white space, a zero byte, what another alphabet has."""
    token, sealing = ISSUED[name], SEALINGS[name]
    allowed = OF_HEADERS | {WRONG[name]}
    for place in range(len(token) + 1):
        for more in (b"A", b"=", b".", b"\n", b"+"):
            longer = token[:place] + more + token[place:]
            assert reason(sealing.open, longer, NOW) in allowed, (place, more)
    for more in (b"==", b" ", b"\0", b"AAAA", b".", b".AAAA", token, b"." + token, b"\xff", b"%00"):
        assert reason(sealing.open, token + more, NOW) in allowed, more
        assert reason(sealing.open, more + token, NOW) in allowed, more


@pytest.mark.parametrize("name", FORMATS)
def test_parts_of_two_tokens_are_none(name: str) -> None:
    """Both good, of one user and one key: no part of the one passes in the other (ES256 and nonces are random)."""
    one, sealing = ISSUED[name], SEALINGS[name]
    said = sealing.open(one, NOW)
    other = sealing.seal(said.identity, said.record._replace(version=8), frozenset(), NOW)
    mine, theirs = one.split(b"."), other.split(b".")
    for place in range(len(mine)):
        if mine[place] == theirs[place]:
            continue
        mixed = b".".join([*mine[:place], theirs[place], *mine[place + 1 :]])
        if mixed != other:
            assert reason(sealing.open, mixed, NOW) == WRONG[name], place


def test_a_bad_signature_of_zeros_is_one() -> None:
    """ES256 with r = s = 0 was good anywhere in a famous library (CVE-2022-21449); and s beyond the order is no other
    spelling of a good one.
    """
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    for name in ("jws ES256", "jws EdDSA", "paseto public"):
        body, _, _ = ISSUED[name].rpartition(b".")
        for raw in (bytes(64), bytes(63), b"", b"\xff" * 64, order.to_bytes(32, "big") * 2):
            forged = body + b"." + urlsafe_b64encode(raw).rstrip(b"=")
            assert reason(SEALINGS[name].open, forged, NOW) in (
                WRONG[name],
                "malformed",
                "unknown key",
                "header not allowed",
            )
    body, _, signature = ISSUED["jws ES256"].rpartition(b".")
    raw = urlsafe_b64decode(signature + b"==")
    # Numbers with a zero before them, which moves the place where they are parted, or is left out.
    for longer in (raw[:32] + b"\0" + raw[32:], b"\0" + raw, raw + b"\0"):
        forged = body + b"." + urlsafe_b64encode(longer).rstrip(b"=")
        assert reason(SEALINGS["jws ES256"].open, forged, NOW) == "bad signature"
    for add_to in (0, 32):
        half = int.from_bytes(raw[add_to : add_to + 32], "big") + order
        if half < 2**256:
            longer = raw[:add_to] + half.to_bytes(32, "big") + raw[add_to + 32 :]
            forged = body + b"." + urlsafe_b64encode(longer).rstrip(b"=")
            assert reason(SEALINGS["jws ES256"].open, forged, NOW) == "bad signature"


def test_ed25519_takes_no_second_signature() -> None:
    """S + L verifies where S is not checked to be below the group's order (RFC 8032, 5.1.7)."""
    order = 2**252 + 27742317777372353535851937790883648493
    body, _, signature = ISSUED["jws EdDSA"].rpartition(b".")
    raw = urlsafe_b64decode(signature + b"==")
    second = (int.from_bytes(raw[32:], "little") + order).to_bytes(32, "little")
    forged = body + b"." + urlsafe_b64encode(raw[:32] + second).rstrip(b"=")
    assert reason(SEALINGS["jws EdDSA"].open, forged, NOW) == "bad signature"


@pytest.mark.parametrize("what", ["snapshot", "floor", "refresh token"])
def test_the_same_of_what_is_no_session(what: str) -> None:
    """Snapshots and floors that were touched are none, without an exception; refresh tokens are refused."""
    token, read = {
        "snapshot": (SNAPSHOT, lambda data: SNAPSHOTS.read(data, IDENTITY, NOW)),
        "floor": (FLOOR, lambda data: FLOORS.read(data, IDENTITY)),
        "refresh token": (PAIR.refresh.encode(), PAIRS.read),
    }[what]
    assert read(token) is not None  # type: ignore[operator]  # each is a function
    for place in range(len(token)):
        for changed in (
            *(token[:place] + bytes([token[place] ^ 1 << bit]) + token[place + 1 :] for bit in range(8)),
            token[:place],
            token[:place] + b"A" + token[place:],
            token[place + 1 :],
        ):
            assert TARGETS[what](changed) is False, place


def test_a_snapshot_is_one_browsers() -> None:
    """In the hand of another identity it is nothing (ASVS 9.2.1)."""
    assert SNAPSHOTS.read(SNAPSHOT, IDENTITY, NOW) is not None
    for other in (bytes(16), b"", IDENTITY + b"\0", IDENTITY[:-1], IDENTITY * 2):
        assert SNAPSHOTS.read(SNAPSHOT, other, NOW) is None


def test_base64url_has_one_spelling() -> None:
    """RFC 7515, 2: told by another reader, for all ends of texts, and signs of other alphabets at each place.

    Whoever could spell a token twice would have two that a list of tokens does not know for one.
    """
    alphabet = [bytes([byte]) for byte in range(256)]
    texts = [bytes([one]) + other for one in b"Az09-_+/= .\n\0\xff" for other in alphabet]
    texts += [start + end for start in (b"AA", b"AAA", b"AAAAAA", b"-_A") for end in alphabet]
    texts += [
        b"A" * place + sign + b"A" * (8 - place)
        for place in range(9)
        for sign in (b"+", b"/", b"=", b" ", b"==")
    ]
    accepted = 0
    for text in texts:
        try:
            assert pack(unpack(text)) == text
        except BadToken:
            assert not is_one_spelling(text), text
        else:
            assert is_one_spelling(text), text
            accepted += 1
    assert accepted > 100
