"""What tokens load, and when: on a serverless platform it is latency that a user waits for (design §11)."""

from __future__ import annotations

import subprocess
import sys

import pytest

SDKS = {"boto3", "botocore", "redis", "azure", "google.cloud", "psycopg", "pymemcache", "sqlite3"}
HEAVY = SDKS | {
    "asyncio",
    "ssl",
    "http.client",
    "importlib.metadata",
    "inspect",
    "starlette",
    "joserfc",
    "jwt",
}
RING = "from holdfast import Keyring, Sessions, Token; ring = Keyring.generate()"
HS256 = "Token('jws', algorithm='HS256', public={'n'})"
USE = "s = Sessions(token={}, keys=ring); x = s.open(None); x['n'] = 1; s.sync.commit(x)"


def loaded_by(program: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after the program."""
    code = f"import sys; before = set(sys.modules); {program}; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "program",
    [
        "import holdfast",
        RING,
        f"{RING}; Token()",
        f"{RING}; Sessions('memory://', keys=ring)",
        f"{RING}; from holdfast.asgi import SessionMiddleware",
    ],
)
def test_no_cryptography_without_a_token(program: str) -> None:
    """Nor pyseto: an application that has a store and no snapshots does without."""
    assert loaded_by(program) & {"cryptography", "pyseto", "json"} == set()


@pytest.mark.parametrize("token", ["Token()", HS256])
def test_a_token_loads_no_sdk_and_no_event_loop(token: str) -> None:
    """From a cold start to the first token that is sent: the AEAD, JSON, and what is in the standard library."""
    loaded = loaded_by(f"{RING}; {USE.format(token)}")
    assert loaded & HEAVY == set()
    assert "pyseto" not in loaded


def test_the_aead_is_loaded_for_what_uses_it() -> None:
    """For jwe and for snapshots, when they are set up."""
    aead = "cryptography.hazmat.primitives.ciphers.aead"
    assert aead in loaded_by(f"{RING}; {USE.format('Token()')}")
    assert aead in loaded_by(f"{RING}; Sessions('memory://', keys=ring, snapshot='30s')")
    assert aead not in loaded_by(f"{RING}; {USE.format(HS256)}")
