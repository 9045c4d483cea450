"""The JSON Web Key Set: what readers get, when, and that they can check tokens with it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
import uvicorn
from joserfc import jws
from joserfc.jwk import KeySet

from holdfast import ConfigError, Keyring, Sessions
from holdfast.bearer import Bearer
from holdfast.jwks import JWKS, MAX_AGE_SECONDS, PATH, jwks
from holdfast.keys.file import KeyFile
from holdfast.testing import FakeClock
from holdfast.tokens import Token

OLD, NEW = Keyring.new_secret(), Keyring.new_secret()
ALGORITHMS = ["EdDSA", "ES256"]


async def application(scope: Any, receive: Any, send: Any) -> None:
    """What is behind the key set."""
    await send({"type": "http.response.start", "status": 418, "headers": []})
    await send({"type": "http.response.body", "body": b"teapot"})


def token_of(ring: Keyring, token: Token) -> str:
    """A token that `Sessions` gives a browser."""
    sessions = Sessions(token=token, keys=ring)
    session = sessions.open(None)
    session["role"] = "admin"
    sessions.sync.commit(session)
    (line,) = [value for name, value in session._outgoing() if name == b"set-cookie"]
    return line.partition(b";")[0].partition(b"=")[2].decode()


@pytest.fixture
def serve() -> Iterator[Callable[[Any], str]]:
    """Serves an application on a free port until the end of the test; the URL of its key set."""
    running: list[tuple[uvicorn.Server, threading.Thread]] = []

    def start(app: Any) -> str:
        # It listens before anybody asks: a request that comes before the server does waits for it.
        listening = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        running.append((server, thread))
        return f"http://127.0.0.1:{listening.getsockname()[1]}{PATH}"

    yield start
    for server, thread in running:
        server.should_exit = True
        thread.join(10)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_pyjwt_checks_tokens_with_nothing_but_the_url(algorithm: str, serve: Callable[[Any], str]) -> None:
    """Tokens of each key of the ring; a forged one is refused."""
    token = Token("jws", algorithm=algorithm, public={"role"})
    ring = Keyring([NEW, OLD])
    client = jwt.PyJWKClient(serve(JWKS(application, keys=ring, token=token)))
    for maker in (Keyring([OLD]), ring):
        made = token_of(maker, token)
        key = client.get_signing_key_from_jwt(made)
        claims = jwt.decode(made, key, algorithms=[algorithm], audience="__Host-session", issuer="holdfast")
        assert "admin" in json.dumps(claims)
        with pytest.raises(jwt.InvalidSignatureError):
            jwt.decode(made[:-8] + "AAAAAAAA", key, algorithms=[algorithm], audience="__Host-session")
    with pytest.raises(jwt.PyJWKClientError):
        client.get_signing_key_from_jwt(token_of(Keyring.generate(), token))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_joserfc_checks_tokens(algorithm: str) -> None:
    """Finding the key by its id."""
    token = Token("jws", algorithm=algorithm, public={"role"})
    ring = Keyring([NEW, OLD])
    keys = KeySet.import_key_set(json.loads(jwks(ring, token)))
    found = jws.deserialize_compact(token_of(Keyring([OLD]), token), keys, algorithms=[algorithm])
    assert b"admin" in found.payload


def test_tokens_in_headers_have_keys_of_their_own() -> None:
    """What `Sessions(transport="header")` gives its clients is checked with the set that is made for it only."""
    token, ring = Token("jws", public={"role"}), Keyring([NEW])
    sessions = Sessions(token=token, keys=ring, transport="header")
    session = sessions.open(None, headers=[])
    session["role"] = "admin"
    sessions.sync.commit(session)
    (made,) = [value.decode() for name, value in session._outgoing() if name == b"holdfast-session"]
    (key,) = jwt.PyJWKSet.from_json(jwks(ring, token, transport="header").decode()).keys
    assert "admin" in json.dumps(jwt.decode(made, key, algorithms=["EdDSA"], audience="header session"))
    for other in (jwks(ring, token), jwks(ring, token, cookie_name="shop", transport="header")):
        (wrong,) = jwt.PyJWKSet.from_json(other.decode()).keys
        with pytest.raises(jwt.InvalidSignatureError):
            jwt.decode(made, wrong, algorithms=["EdDSA"], audience="header session")
    with pytest.raises(ConfigError, match="transport='bearer' is unknown"):
        jwks(ring, token, transport="bearer")  # type: ignore[arg-type]  # its tokens are a Bearer's


async def test_bearers_have_keys_of_their_own() -> None:
    """The access tokens of a `Bearer` are checked with the set that is made for its name, and with no other."""
    token = Token("jws", public={"role"})
    ring = Keyring([NEW])
    pair = await Bearer("memory://", token, keys=ring, name="mobile").issue("user-1", {"role": "admin"})
    (key,) = jwt.PyJWKSet.from_json(jwks(ring, token, bearer="mobile").decode()).keys
    assert jwt.decode(pair.access, key, algorithms=["EdDSA"], audience="bearer mobile", issuer="holdfast")
    for other in (jwks(ring, token), jwks(ring, token, bearer="api")):
        (wrong,) = jwt.PyJWKSet.from_json(other.decode()).keys
        with pytest.raises(jwt.InvalidSignatureError):
            jwt.decode(pair.access, wrong, algorithms=["EdDSA"], audience="bearer mobile")


@pytest.mark.parametrize(
    "token",
    [Token(), Token("jws", algorithm="HS256"), Token("paseto"), Token("paseto", algorithm="v4.public")],
    ids=lambda token: token.algorithm,
)
def test_what_has_no_public_key_is_refused(token: Token) -> None:
    """A shared secret in a public place would let anybody make tokens. Told at construction."""
    ring = Keyring([NEW])
    with pytest.raises(ConfigError, match="public keys"):
        jwks(ring, token)
    with pytest.raises(ConfigError, match="public keys"):
        JWKS(application, keys=ring, token=token)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_only_public_halves_are_shown(algorithm: str) -> None:
    """No private member, no secret; and what each key is for."""
    found = json.loads(jwks(Keyring([NEW, OLD]), Token("jws", algorithm=algorithm)))
    for key in found["keys"]:
        assert key.keys() <= {"kty", "crv", "x", "y", "kid", "use", "alg"}
        assert (key["use"], key["alg"]) == ("sig", algorithm)


async def ask(app: Any, method: str, path: str) -> tuple[int, dict[bytes, bytes], bytes]:
    """Status, headers and body of an answer."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app({"type": "http", "method": method, "path": path, "headers": []}, None, send)
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


async def test_only_its_own_path_is_answered() -> None:
    """GET and HEAD; everything else is the application's."""
    app = JWKS(application, keys=Keyring([NEW]), token=Token("jws"))
    status, headers, body = await ask(app, "GET", PATH)
    assert status == 200
    assert headers[b"content-type"] == b"application/jwk-set+json"
    assert headers[b"cache-control"] == b"public, max-age=300"
    assert headers[b"content-length"] == b"%d" % len(body)
    assert await ask(app, "HEAD", PATH) == (200, headers, b"")
    for method, path in (("POST", PATH), ("GET", "/"), ("GET", PATH + "/")):
        assert (await ask(app, method, path))[0] == 418


async def test_a_key_is_there_before_it_makes_tokens_and_gone_when_it_was_removed(tmp_path: Path) -> None:
    """Readers that keep the set for as long as they may have a key in time; a leaked one disappears."""
    path, clock = tmp_path / "keys", FakeClock()
    path.write_text(f"{OLD}\n")
    source = KeyFile(path)
    ring = Keyring(source.read() or [], source=source, clock=clock)
    app = JWKS(application, keys=ring, token=Token("jws"))

    async def shown() -> list[str]:
        return [key["kid"] for key in json.loads((await ask(app, "GET", PATH))[2])["keys"]]

    old, new = Keyring([OLD]).key_ids[0], Keyring([NEW]).key_ids[0]
    assert await shown() == [old]
    path.write_text(f"{NEW}@2999-01-01T00:00:00Z\n{OLD}\n")
    clock.advance(5)
    assert await shown() == [new, old]
    assert ring.newest.id.hex() == old
    path.write_text(f"{NEW}\n")
    clock.advance(5)
    assert await shown() == [new]


def test_the_usual_wait_is_longer_than_readers_keep_the_set() -> None:
    """A minute until the instances have it, and five until readers ask again."""
    from holdfast.cli.keys import _WAIT
    from holdfast.keys.aws import REFRESH_SECONDS
    from holdfast.settings import seconds

    assert seconds(_WAIT, "wait") > MAX_AGE_SECONDS + REFRESH_SECONDS
