"""Nothing is told by how long a refusal takes (ASVS 9.1.1): first by what the code is made of, then measured."""

from __future__ import annotations

import ast
import statistics
import time
from contextlib import suppress
from pathlib import Path

import pytest
from fuzz_targets import ISSUED, NOW, SEALINGS

import holdfast
from holdfast import BadToken
from holdfast.tokens.compact import pack, unpack

SOURCES = [
    path
    for folder in ("", "tokens")
    for path in (Path(holdfast.__file__).parent / folder).glob("*.py")
    if path.name != "_colour.py"
]
SECRET = {"mac", "macs", "signature", "digest", "tag_bytes", "sealed"}


def secret_comparisons(source: str) -> list[str]:
    """Each `==` or `!=` one side of which is a MAC, a signature or a digest, as the names say."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Compare) or not any(
            isinstance(op, ast.Eq | ast.NotEq) for op in node.ops
        ):
            continue
        for side in [node.left, *node.comparators]:
            if isinstance(side, ast.Call) and ast.unparse(side.func) in ("len", "type"):
                continue
            words = {part.id for part in ast.walk(side) if isinstance(part, ast.Name)}
            words |= {part.attr for part in ast.walk(side) if isinstance(part, ast.Attribute)}
            if words & SECRET:
                found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_no_seal_is_compared_byte_by_byte(path: Path) -> None:
    """`hmac.compare_digest`, or the cipher and the signature scheme themselves, which take the same time for all."""
    assert secret_comparisons(path.read_text()) == []


def test_the_check_sees_such_a_comparison() -> None:
    """As it would be written by mistake; lengths may be compared."""
    assert secret_comparisons("if sign(body) == signature: pass")
    assert secret_comparisons("if token[4:] != mac.digest(): pass")
    assert not secret_comparisons("if len(signature) != 64: pass")


def spoilt(name: str, place: int) -> bytes:
    """The token with one byte of its seal changed."""
    body, _, seal = ISSUED[name].rpartition(b".")
    raw = bytearray(unpack(seal))
    raw[place] ^= 0xFF
    return body + b"." + pack(bytes(raw))


@pytest.mark.proof
@pytest.mark.parametrize("name", ["jwe", "jws HS256"])
def test_a_refusal_takes_as_long_whichever_byte_is_wrong(name: str) -> None:
    """The first byte of the seal, or the last: the difference of the medians of many turns is lost in the noise.

    A comparison that stops at the first difference would show some tens of nanoseconds here in a day's work of an
    attacker on the same machine; what is asserted is that nothing larger hides behind a refusal.
    """
    sealing = SEALINGS[name]
    tokens = {"first": spoilt(name, 0), "last": spoilt(name, -1)}
    times: dict[str, list[float]] = {which: [] for which in tokens}
    for turn in range(20_000):
        for which in sorted(tokens, reverse=turn % 2 == 0):
            start = time.perf_counter_ns()
            with suppress(BadToken):
                sealing.open(tokens[which], NOW)
            times[which].append(time.perf_counter_ns() - start)
    first, last = (statistics.median(times[which]) for which in ("first", "last"))
    print(f"{name}: first byte {first:.0f} ns, last byte {last:.0f} ns")
    assert abs(first - last) < 0.03 * first
