"""Which values of a session travel in its token, and which stay on the server."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from ..errors import SessionTooLarge
from ..record import Record
from . import Secrecy

# How often the token is sealed anew with less in it, before everything that may stays on the server.
_ROUNDS = 6
# What a byte of a value makes in a token, as a first guess: base64.
_GROWTH = 4 / 3


class Placed(NamedTuple):
    """The token, and the values that are held on the server: all that does not travel, and copies of some that do."""

    token: bytes
    held: dict[str, bytes]


def place(
    record: Record,
    *,
    private: Secrecy,
    stays: Collection[str] = (),
    beside: Collection[str] = (),
    may_spill: bool,
    most: int,
    seal: Callable[[Record, frozenset[str]], bytes],
    size: Callable[[bytes], int],
) -> Placed:
    """Seal a record into a token of `most` bytes at most, as `size` counts them.

    What is private is held back, and what `stays` where it is; then, if that `may_spill`, the largest values, until
    the rest fits. Raises `SessionTooLarge`, naming the largest keys.

    What is `beside` the token on the server stays there when it travels again: a request with the token from before,
    which says that it is there, would find neither the old value nor the new one.
    """
    held = {name: data for name, data in record.values.items() if name in private or name in stays}
    travelling = {name: data for name, data in record.values.items() if name not in held}
    left = _ROUNDS
    while True:
        copies = {name: data for name, data in travelling.items() if name in beside}
        token = seal(record._replace(values=travelling), frozenset(held).union(copies))
        excess = size(token) - most
        if excess <= 0:
            return Placed(token, {**held, **copies})
        if not may_spill or not travelling:
            raise SessionTooLarge(_too_large(record.values, size(token), most))
        left -= 1
        # The largest go first: so few values stay behind, and the rest still needs no store.
        for name in sorted(travelling, key=lambda name: len(travelling[name]), reverse=True):
            held[name] = travelling.pop(name)
            excess -= int(len(held[name]) * _GROWTH)
            if excess <= 0 and left:
                break


def _too_large(values: Mapping[str, bytes], size: int, most: int) -> str:
    largest = sorted(values, key=lambda name: -len(values[name]))[:3]
    parts = ", ".join(f"{name[:40]!r} ({len(name.encode()) + len(values[name])} bytes)" for name in largest)
    return (
        f"the session's token would take {size} bytes of each request, {most} are allowed (max_bytes=); the largest "
        f"keys are {parts}. Nothing was written; private= and spill= keep values on the server"
    )
