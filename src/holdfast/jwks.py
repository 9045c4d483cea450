"""The public keys of an application's signed tokens, for the services that read them (RFC 7517).

app = JWKS(app, keys=keyring, token=Token("jws", public={"role"}))    # serves /.well-known/jwks.json

A key that makes no tokens yet is among them, so that readers have it in time; one that was removed is not.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from .cookies import Cookies
from .errors import ConfigError
from .keyring import Keyring
from .tokens import Token

PATH = "/.well-known/jwks.json"

# Readers may keep the keys for so long, so a new key has to wait for longer before it makes tokens.
MAX_AGE_SECONDS = 300

Scope = MutableMapping[str, Any]


def jwks(
    keys: Keyring,
    token: Token,
    *,
    cookie_name: str = "session",
    insecure_http: bool = False,
    bearer: str | None = None,
) -> bytes:
    """The JSON Web Key Set of the tokens of `Sessions(token=token, …)`, which is told `cookie_name` and `insecure_http`
    alike; or, with `bearer`, of the access tokens of the `Bearer` of that name.

    Raises `ConfigError` for tokens that are not signed with a key that has a public half.
    """
    if token.format != "jws" or token.algorithm == "HS256":
        raise ConfigError('only Token("jws") with EdDSA or ES256 has public keys in a JSON Web Key Set')
    from .tokens.jws import Jws

    name = (
        Cookies(keys, cookie_name, insecure_http=insecure_http).name if bearer is None else f"bearer {bearer}"
    )
    signed = Jws(
        keys,
        f"session {name}",
        issuer=token.issuer,
        audience=token.audience or name,
        algorithm=token.algorithm,  # type: ignore[arg-type]  # checked by Token
    )
    return json.dumps({"keys": signed.public_keys()}, separators=(",", ":")).encode()


class JWKS:
    """Answers requests for `/.well-known/jwks.json`, and hands every other on to the application.

    Takes what `jwks` takes, and raises what it raises.
    """

    def __init__(
        self,
        app: Callable[..., Awaitable[None]],
        *,
        keys: Keyring,
        token: Token,
        cookie_name: str = "session",
        insecure_http: bool = False,
        bearer: str | None = None,
    ) -> None:
        self._app, self._keys = app, keys
        self._make: Callable[[], bytes] = lambda: jwks(
            keys, token, cookie_name=cookie_name, insecure_http=insecure_http, bearer=bearer
        )
        self._made = (keys.look(), self._make())  # a mistake shows now, not at the first request

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
