"""What it costs to seal a session of 1 KB into a token and to open it again, beside the libraries for that.

python -m bench tokens [--rounds N]

Each subject seals the same values, says until when they are good, for whom and by whom, and checks that when it opens
the token. Holdfast's figures include the way from a session's record and back to it; "jwe alone" is the format by
itself, from claims to claims, as the peers are.
"""

from __future__ import annotations

import json
import os
import statistics
import time
import timeit
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from .measure import markdown

CALLS = 200
NOW = float(int(time.time()))
VALUES = {
    "user": "b1946ac9-2ed5-4e07-9d2c-6f0f1f6f7a31",
    "cart": [{"sku": f"tea-{number:04}", "count": number} for number in range(12)],
    "theme": "dark",
    "csrf": "kFw3p1uWl3yJx7x0vS4mPzJ2b1o9cQ8d",
    "note": b64encode(os.urandom(405)).decode(),  # which no compression makes smaller
}
CLAIMS = {
    "iss": "holdfast",
    "aud": "app",
    "exp": int(NOW) + 1800,
    "nbf": int(NOW),
    "sub": "user-42",
    **VALUES,
}
BASE = "Holdfast jwe"
BARE = "bare AES-256-GCM, 1 KB"
MOST_MICROSECONDS = 6.0
# What the bare cipher takes, in microseconds, on the machine for which that was said: ratios travel, times do not.
BARE_THERE = {"seal": 1.1, "open": 0.7}


class Subject(NamedTuple):
    """How it seals, how it opens what it has sealed, and the size of that."""

    seal: Callable[[], Any]
    open: Callable[[], object]
    bytes: int


def report(rounds: int = 25) -> str:
    """Two Markdown tables: the medians of `rounds` turns, and how many times as long as Holdfast's default they took;
    and whether the default meets its target.
    """
    subjects = {**ours(), **peers()}
    calls = {
        (name, way): getattr(subject, way) for name, subject in subjects.items() for way in ("seal", "open")
    }
    means = in_turns(calls, rounds)
    rows = []
    for name, subject in subjects.items():
        times = [f"{statistics.median(means[name, way]) * 1e6:.1f}" for way in ("seal", "open")]
        ratios = [f"{ratio(means[name, way], means[BASE, way]):.1f}" for way in ("seal", "open")]
        rows.append([name, str(subject.bytes), times[0], ratios[0], times[1], ratios[1]])
    table = markdown(["Token of 1 KB", "bytes", "seal µs", "ratio", "open µs", "ratio"], rows)
    return f"{table}\n\n{targets(means)}"


def targets(means: Mapping[Any, list[float]]) -> str:
    """A Markdown table: what the default is to take at most, as a time, and in times of the bare cipher in this run."""
    rows = []
    for way, there in BARE_THERE.items():
        measured = statistics.median(means[BASE, way]) * 1e6
        met = "met" if measured <= MOST_MICROSECONDS else "missed"
        rows.append([f"{BASE}, {way}", f"{MOST_MICROSECONDS:g} µs", f"{measured:.1f} µs", met])
        times, most = ratio(means[BASE, way], means[BARE, way]), MOST_MICROSECONDS / there
        met = "met" if times <= most else "missed"
        rows.append([f"{BASE}, {way}, in bare ciphers", f"{most:.1f}", f"{times:.1f}", met])
    return markdown(["Target", "at most", "measured", ""], rows)


def ratio(one: list[float], other: list[float]) -> float:
    """The median of the rounds' ratios."""
    return statistics.median(mine / theirs for mine, theirs in zip(one, other, strict=True))


def in_turns(calls: Mapping[Any, Callable[[], object]], rounds: int) -> dict[Any, list[float]]:
    """The mean seconds of one call of each, by round: of the processor's, so that no other process counts."""
    means: dict[Any, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        timeit.timeit(call, number=CALLS // 5)
    for _ in range(rounds):
        for name, call in calls.items():
            means[name].append(timeit.timeit(call, timer=time.process_time, number=CALLS) / CALLS)
    return means


def subject(seal: Callable[[], Any], open_: Callable[[Any], object]) -> Subject:
    """A subject whose token is made once for the openings."""
    token = seal()
    open_(token)
    return Subject(seal, lambda: open_(token), len(token))


def ours() -> dict[str, Subject]:
    """Holdfast's formats, and its snapshots."""
    from holdfast import Keyring, Record, Token, codec
    from holdfast.tokens import Secrecy
    from holdfast.tokens.jwe import Jwe
    from holdfast.tokens.sealing import Sealing
    from holdfast.tokens.snapshots import SnapshotToken

    ring, identity = Keyring.generate(), os.urandom(16)
    values = {name: codec.encode(value, name) for name, value in VALUES.items()}
    record = Record(3, os.urandom(8), values, "user-42", NOW, NOW + 1800)
    tokens = {
        BASE: Token(),
        "Holdfast jwe, JSON": Token(text="json"),
        "Holdfast jws HS256": Token("jws", algorithm="HS256", public=set(VALUES)),
        "Holdfast jws EdDSA": Token("jws", public=set(VALUES)),
        "Holdfast jws ES256": Token("jws", algorithm="ES256", public=set(VALUES)),
        "Holdfast paseto v4.local": Token("paseto"),
        "Holdfast paseto v4.public": Token("paseto", algorithm="v4.public", public=set(VALUES)),
    }
    found = {}
    for name, token in tokens.items():
        sealing = Sealing(token, ring, "app")
        found[name] = subject(
            lambda sealing=sealing: sealing.seal(identity, record, frozenset(), NOW),  # type: ignore[misc]  # a default
            lambda text, sealing=sealing: sealing.open(text, NOW),  # type: ignore[misc]  # a default
        )
    jwe = Jwe(ring, "alone", issuer="holdfast", audience="app")
    claims = {name: value for name, value in CLAIMS.items() if name not in ("iss", "aud")}
    found["Holdfast jwe alone"] = subject(lambda: jwe.seal(claims, NOW), lambda token: jwe.open(token, NOW))
    snapshots = SnapshotToken(ring, "app", Secrecy((), "private"))
    found["Holdfast snapshot"] = subject(
        lambda: (snapshots.make(record, NOW, identity, NOW) or "").encode(),
        lambda token: snapshots.read(token, identity, NOW),
    )
    return found


def peers() -> dict[str, Subject]:
    """The libraries for tokens, each as its documentation has it, and the bare cipher."""
    import itsdangerous
    import jwt
    import pyseto
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from joserfc import jwe
    from joserfc import jwt as jose
    from joserfc.jwk import OctKey

    secret = os.urandom(32)
    key, local = OctKey.import_key(secret), pyseto.Key.new(version=4, purpose="local", key=secret)
    registry = jwe.JWERegistry(algorithms=["dir", "A256GCM"])
    rules = jose.JWTClaimsRegistry(iss={"value": "holdfast"}, aud={"value": "app"}, exp={"essential": True})
    signer = itsdangerous.URLSafeTimedSerializer(secret)
    cipher, text = AESGCM(secret), json.dumps(CLAIMS).encode()
    dated = {**CLAIMS, "exp": "2099-01-01T00:00:00+00:00", "nbf": "2020-01-01T00:00:00+00:00"}

    def joserfc(token: str) -> object:
        found = jose.decode(token, key, registry=registry)
        rules.validate(found.claims)
        return found

    return {
        "PyJWT HS256": subject(
            lambda: jwt.encode(CLAIMS, secret, "HS256"),
            lambda token: jwt.decode(token, secret, ["HS256"], audience="app", issuer="holdfast"),
        ),
        "joserfc JWE dir A256GCM": subject(
            lambda: jose.encode({"alg": "dir", "enc": "A256GCM"}, CLAIMS, key, registry=registry), joserfc
        ),
        "itsdangerous": subject(
            lambda: signer.dumps(CLAIMS), lambda token: signer.loads(token, max_age=1800)
        ),
        "pyseto v4.local": subject(
            lambda: pyseto.encode(local, dated, serializer=json),
            lambda token: pyseto.decode(local, token, deserializer=json, aud="app"),
        ),
        BARE: subject(
            lambda: (nonce := os.urandom(12)) + cipher.encrypt(nonce, text, b""),
            lambda sealed: cipher.decrypt(sealed[:12], sealed[12:], b""),
        ),
    }
