"""The public keys of an application's signed tokens, for the services that read them (RFC 7517, PASERK).

app = JWKS(app, keys=keyring, token=Token("jws", public={"role"}))    # serves /.well-known/jwks.json

A key that makes no tokens yet is among them, so that readers have it in time; one that was removed is not.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Literal

from .cookies import Cookies
from .errors import ConfigError
from .keyring import Keyring
from .settings import one_of
from .tokens import Token

PATH = "/.well-known/jwks.json"

# Readers may keep the keys for so long, so a new key has to wait for longer before it makes tokens.
MAX_AGE_SECONDS = 300

Scope = MutableMapping[str, Any]


def jwks(
    keys: Keyring | str | bytes | Iterable[str | bytes],
    token: Token,
    *,
    cookie_name: str = "session",
    insecure_http: bool = False,
    transport: Literal["cookie", "header"] = "cookie",
    bearer: str | None = None,
) -> bytes:
    """The JSON Web Key Set of the tokens of `Sessions(token=token, …)`, which is told `cookie_name`, `insecure_http`
    and `transport` alike; or, with `bearer`, of the access tokens of the `Bearer` of that name.

    Raises `ConfigError` for tokens that are not signed with a key that has a public half, and where what signs them is
    not installed.
    """
    if token.format != "jws" or token.algorithm == "HS256":
        raise ConfigError('only Token("jws") with EdDSA or ES256 has public keys in a JSON Web Key Set')
    token.require()
    from .tokens.jws import Jws

    keyring, name = _bound(keys, cookie_name, insecure_http, transport, bearer)
    signed = Jws(
        keyring,
        f"session {name}",
        issuer=token.issuer,
        audience=token.audience or name,
        algorithm=token.algorithm,  # type: ignore[arg-type]  # checked by Token
    )
    return json.dumps({"keys": signed.public_keys()}, separators=(",", ":")).encode()


def paserk(
    keys: Keyring | str | bytes | Iterable[str | bytes],
    token: Token,
    *,
    cookie_name: str = "session",
    insecure_http: bool = False,
    transport: Literal["cookie", "header"] = "cookie",
    bearer: str | None = None,
) -> bytes:
    """The public keys of `Token("paseto", algorithm="v4.public")` as JSON. Takes and raises what `jwks` does.

    `keys` has a PASERK (`k4.public.…`) for each `kid` that a token's footer may name, and `implicit_assertion` is the
    text that a reader has to give beside the token.
    """
    if token.algorithm != "v4.public":
        raise ConfigError('only Token("paseto", algorithm="v4.public") has public keys as PASERK')
    token.require()
    from .tokens.paseto import Paseto

    keyring, name = _bound(keys, cookie_name, insecure_http, transport, bearer)
    audience = token.audience or name
    signed = Paseto(keyring, f"session {name}", issuer=token.issuer, audience=audience, kind="public")
    keys_by_id = {key["kid"]: key["paserk"] for key in signed.public_keys()}
    found = {"implicit_assertion": signed.bound.decode(), "keys": keys_by_id}
    return json.dumps(found, separators=(",", ":")).encode()


def _bound(
    keys: Keyring | str | bytes | Iterable[str | bytes],
    cookie_name: str,
    insecure_http: bool,
    transport: str,
    bearer: str | None,
) -> tuple[Keyring, str]:
    """The ring, and what the tokens are bound to besides."""
    one_of("transport", transport, "cookie", "header")
    keyring = Keyring.of(keys)
    if bearer is not None:
        return keyring, f"bearer {bearer}"
    if transport == "header":
        return keyring, f"header {cookie_name}"
    return keyring, Cookies(keyring, cookie_name, insecure_http=insecure_http).name


class JWKS:
    """Answers requests for `/.well-known/jwks.json`, and hands every other on to the application.

    Takes what `jwks` takes, and raises what it raises.
    """

    def __init__(
        self,
        app: Callable[..., Awaitable[None]],
        *,
        keys: Keyring | str | bytes | Iterable[str | bytes],
        token: Token,
        cookie_name: str = "session",
        insecure_http: bool = False,
        transport: Literal["cookie", "header"] = "cookie",
        bearer: str | None = None,
    ) -> None:
        self._app, self._keys = app, (ring := Keyring.of(keys))
        self._make: Callable[[], bytes] = lambda: jwks(
            ring,
            token,
            cookie_name=cookie_name,
            insecure_http=insecure_http,
            transport=transport,
            bearer=bearer,
        )
        self._made = (ring.look(), self._make())  # a mistake shows now, not at the first request

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] not in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        state, body = self._made
        if (now := self._keys.look()) != state:
            _, body = self._made = now, self._make()
        headers = [
            (b"content-type", b"application/jwk-set+json"),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"public, max-age=%d" % MAX_AGE_SECONDS),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
