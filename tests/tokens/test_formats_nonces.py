"""No nonce comes twice under one key: not in threads, forks and restored snapshots; and no key is used for too long."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from fuzz_targets import IDENTITY, NOW, RECORD, SEALINGS, SNAPSHOTS

from holdfast import BadToken, Keyring, StoreThrottled
from holdfast.tokens import ciphers
from holdfast.tokens.ciphers import KEY_SECONDS, HourlyCiphers
from holdfast.tokens.claims import LEEWAY_SECONDS
from holdfast.tokens.compact import read_header, unpack
from holdfast.tokens.jwe import Jwe


def jwe(keyring: Keyring | None = None) -> Jwe:
    return Jwe(keyring or Keyring.generate(), "p", issuer="holdfast", audience="app")


def nonce_of(name: str, token: bytes) -> bytes:
    """Where the nonce stands in each encrypted token."""
    if name == "jwe":
        return unpack(token.split(b".")[2])
    if name == "paseto local":
        return unpack(token.split(b".")[2])[:32]
    return unpack(token)[9:21]


def seal(name: str) -> bytes:
    if name == "snapshot":
        return (SNAPSHOTS.make(RECORD, NOW, IDENTITY, NOW) or "").encode()
    return SEALINGS[name].seal(IDENTITY, RECORD, frozenset(), NOW)


@pytest.mark.parametrize("name", ["jwe", "paseto local", "snapshot"])
def test_threads_never_share_a_nonce(name: str) -> None:
    """One sealer in the hands of many threads, all with the same claims."""
    with ThreadPoolExecutor(8) as pool:
        tokens = list(pool.map(lambda _: seal(name), range(4000)))
    nonces = {nonce_of(name, token) for token in tokens}
    assert len(nonces) == 4000
    assert {len(nonce) for nonce in nonces} == {32 if name == "paseto local" else 12}


# Everything has been prepared and used, and a generator seeded, when the process is doubled: what the two share is what
# a process in a restored snapshot of a virtual machine shares with its like. The kernel's generator is the kernel's.
FORKS = """
import os, random, sys
sys.path.insert(0, sys.argv[1])
import test_formats_nonces as tests
for name in ("jwe", "paseto local", "snapshot"):
    tests.seal(name)
generator = random.Random(1)
children = []
for _ in range(4):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with os.fdopen(writing, "w") as out:
            print("state", generator.random(), file=out)
            for name in ("jwe", "paseto local", "snapshot"):
                for _ in range(200):
                    print(name, "nonce", tests.nonce_of(name, tests.seal(name)).hex(), file=out)
        os._exit(0)
    os.close(writing)
    children.append((child, reading))
for child, reading in children:
    with os.fdopen(reading) as text:
        print(text.read(), end="")
    assert os.waitpid(child, 0)[1] == 0
"""


def test_forks_and_restored_snapshots_never_share_a_nonce() -> None:
    """Four processes go on from one state: whatever else they repeat, no nonce and no identity is among it."""
    done = subprocess.run(
        [sys.executable, "-c", FORKS, str(__file__).rpartition("/")[0]],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    states = [line for line in lines if line.startswith("state")]
    assert len(states) == 4
    assert len(set(states)) == 1, "the processes did not go on from one state"
    nonces = [line for line in lines if "nonce" in line]
    assert len(nonces) == 4 * 3 * 200
    assert len(set(nonces)) == len(nonces)


def test_a_key_seals_so_many_messages_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """NIST SP 800-38D, 8.3, with a smaller number: exactly so many, by however many threads; the next hour goes on."""
    monkeypatch.setattr(ciphers, "MOST_USES", 100)
    hourly = HourlyCiphers(Keyring.generate(), "p")

    def use(_: int) -> bool:
        try:
            hourly.to_seal(NOW)
        except StoreThrottled:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(use, range(400))) == 100
    hourly.to_seal(NOW + KEY_SECONDS)
    for _ in range(99):
        hourly.to_seal(NOW + KEY_SECONDS)
    with pytest.raises(StoreThrottled, match="this hour's key"):
        hourly.to_seal(NOW + KEY_SECONDS)


def test_the_number_is_what_the_standard_says() -> None:
    """2**32 messages with random nonces of 96 bits: the chance of a repetition is below 2**-32."""
    assert ciphers.MOST_USES == 2**32
    assert ciphers.NONCE_BYTES * 8 == 96


def test_each_hour_has_a_key_of_its_own() -> None:
    """Told by the token's `kid`; a token of an hour that has gone by is good as long as it lives."""
    maker = jwe()
    claims = {"exp": NOW + 2 * KEY_SECONDS}
    now, later = maker.seal(claims, NOW), maker.seal(claims, NOW + KEY_SECONDS)
    kids = [read_header(token.partition(b".")[0]).kid for token in (now, later)]
    assert int(kids[1].partition(".")[2], 16) == int(kids[0].partition(".")[2], 16) + 1
    assert maker.key(kids[0]) != maker.key(kids[1])
    assert maker.open(now, NOW + KEY_SECONDS)["exp"] == claims["exp"]
    assert maker.open(later, NOW + KEY_SECONDS)["exp"] == claims["exp"]


def test_there_is_no_key_for_an_hour_to_come() -> None:
    """Beyond a clock's leeway: nobody can have a store of tokens made ahead, or make the reader derive at will."""
    ring = Keyring.generate()
    start = NOW // KEY_SECONDS * KEY_SECONDS + KEY_SECONDS
    token = jwe(ring).seal({"exp": start + 600}, start)
    with pytest.raises(BadToken, match="unknown key"):
        jwe(ring).open(token, start - LEEWAY_SECONDS - 1)
    assert jwe(ring).open(token, start - LEEWAY_SECONDS / 2)


def test_only_keys_that_have_opened_something_are_kept() -> None:
    """Forged headers with any hour, any key of ours: what is remembered stays bounded, and is not crowded out."""
    maker = jwe()
    good = maker.seal({"exp": NOW + 60}, NOW)
    maker.open(good, NOW)
    head = read_header(good.partition(b".")[0])
    for hour in range(5000):
        forged = head._replace(kid=f"{head.kid[:8]}.{hour:x}").packed() + b".." + good.partition(b"..")[2]
        with pytest.raises(BadToken, match="bad mac"):
            maker.open(forged, NOW)
    assert len(maker._known) == 1
    assert len(maker._ciphers._known) == 1


def test_what_is_kept_is_bounded() -> None:
    """Over any number of hours with good tokens."""
    maker = jwe()
    for hour in range(200):
        now = NOW + hour * KEY_SECONDS
        assert maker.open(maker.seal({"exp": now + 60}, now), now)
    assert len(maker._known) <= 64
    assert len(maker._ciphers._known) <= 64


def test_a_key_that_is_removed_while_a_token_is_opened_is_not_kept() -> None:
    """The ring changes between the look-up and the end of the opening: the next token under that key is refused."""
    old, new = Keyring.new_secret(), Keyring.new_secret()
    ring = Keyring([old])
    maker = jwe(ring)
    token = maker.seal({"exp": NOW + 60}, NOW)

    class Removing:
        """The cipher of the old key, whose owner is removed in the middle of an opening."""

        def __init__(self, cipher: ciphers.AESGCM) -> None:
            self._cipher = cipher

        def decrypt(self, *parts: bytes) -> bytes:
            ring._replace([new])
            maker._ciphers.state()
            return self._cipher.decrypt(*parts)

    to_open = maker._ciphers.to_open
    maker._ciphers.to_open = lambda *which: (  # type: ignore[method-assign]  # for one call
        key := to_open(*which)
    )._replace(cipher=Removing(key.cipher))  # type: ignore[arg-type]  # decrypts all the same
    assert maker.open(token, NOW)
    maker._ciphers.to_open = to_open  # type: ignore[method-assign]  # as it was
    with pytest.raises(BadToken, match="unknown key"):
        maker.open(token, NOW)
