"""Sessions that travel with the client: `Sessions(token=Token(...), keys=...)` needs no store (design §1).

Any instance, a cold one too, opens the token with the keys that all of them share. The price is the client's: a
session is as large as cookies may be, and two tabs that change it at the same time lose one of the changes (which is
noticed where a store is there).
"""

from __future__ import annotations

from collections.abc import Collection
from importlib import import_module
from typing import TYPE_CHECKING, Literal

from ..errors import ConfigError
from ..settings import Duration, one_of, seconds

if TYPE_CHECKING:
    from ..stores import Store

Format = Literal["jwe", "jws", "paseto"]
Transport = Literal["cookie", "header", "bearer"]
ALGORITHMS = {
    "jwe": ("A256GCM",),
    "jws": ("EdDSA", "ES256", "HS256"),
    "paseto": ("v4.local", "v4.public"),
}

# Beside the token a browser sends other cookies, and many a proxy takes no more than 8 KB of headers in all.
DEFAULT_MAX_BYTES = 6144
LEAST_BYTES, MOST_BYTES = 512, 60_000
DEFAULT_REVOKE_WITHIN = "5s"


class Secrecy:
    """Names of a session's keys, given one by one and by prefix: `"oauth_*"`. Raises `ConfigError`."""

    def __init__(self, names: Collection[str], setting: str) -> None:
        if (
            isinstance(names, str | bytes)
            or not isinstance(names, Collection)
            or not all(isinstance(name, str) and name for name in names)
        ):
            raise ConfigError(f'{setting}={names!r}: write a set of names, {{"oauth_token", "oauth_*"}}')
        if misplaced := sorted(name for name in names if "*" in name[:-1]):
            raise ConfigError(
                f"{setting}= has {misplaced}: a star stands at the end only, for all that begins so"
            )
        self.names = frozenset(name for name in names if not name.endswith("*"))
        self.prefixes = tuple(sorted(name[:-1] for name in names if name.endswith("*")))

    def __contains__(self, name: str) -> bool:
        return name in self.names or name.startswith(self.prefixes)

    def __bool__(self) -> bool:
        return bool(self.names or self.prefixes)


class Token:
    """How sessions are carried by their clients alone.

    - `format`: `"jwe"`, encrypted (the default: a session holds sensitive things); `"jws"`, signed, for claims that
      other services read; `"paseto"`, version 4, encrypted or signed.
    - `algorithm`: A256GCM for jwe; EdDSA (the default), ES256 or HS256 for jws; v4.local (the default) or v4.public.
      A token that says anything else is refused.
    - `issuer`, `audience`: the claims `iss` and `aud`; the audience is the name of the cookie if nothing is said.
    - `text`: how claims stand in a jwe: `"msgpack"`, or `"json"` for a JWT that others open with a shared key.
    - `max_bytes`: how much a token may take of a request's headers, all parts together with their names.
    - `public`: the session's keys that go into a token that is only signed. Any other is refused there.
    - `private`: keys that never leave the server, by name or `"prefix*"`; they stay in `spill`.
    - `spill`: a store, or its URL, for what is private, and for what does not fit into an encrypted token; a session
      that does not fit otherwise raises `SessionTooLarge`.
    - `revocation`: a store, or its URL, in which ended sessions and signed-out users are noted; `revoke_within` is
      the time in which every instance heeds that, 5 seconds if nothing is said.

    Raises `ConfigError` for what could not work.
    """

    def __init__(
        self,
        format: Format = "jwe",  # noqa: A002 - the field's own word
        *,
        algorithm: str | None = None,
        issuer: str = "holdfast",
        audience: str | None = None,
        text: Literal["msgpack", "json"] = "msgpack",
        max_bytes: int = DEFAULT_MAX_BYTES,
        public: Collection[str] = (),
        private: Collection[str] = (),
        spill: str | Store | None = None,
        revocation: str | Store | None = None,
        revoke_within: Duration | None = None,
    ) -> None:
        one_of("format", format, *ALGORITHMS)
        self.format = format
        self.algorithm = ALGORITHMS[format][0] if algorithm is None else algorithm
        one_of("algorithm", self.algorithm, *ALGORITHMS[format])
        one_of("text", text, "msgpack", "json")
        self.text = text
        if not isinstance(issuer, str) or not isinstance(audience, str | None):
            raise ConfigError(f"issuer={issuer!r}, audience={audience!r}: each is a text")
        self.issuer, self.audience = issuer, audience
        if type(max_bytes) is not int or not LEAST_BYTES <= max_bytes <= MOST_BYTES:
            raise ConfigError(f"max_bytes={max_bytes!r}: write a number from {LEAST_BYTES} to {MOST_BYTES}")
        self.max_bytes = max_bytes
        self.is_readable = format == "jws" or self.algorithm == "v4.public"
        self.public = Secrecy(public, "public")
        self.private = Secrecy(private, "private")
        if self.public and not self.is_readable:
            raise ConfigError(
                f"public= names what others may read: a {format} that is encrypted shows nothing"
            )
        if self.public.prefixes:
            raise ConfigError("public= takes whole names: what anybody may read is listed one by one")
        if both := sorted(name for name in self.public.names if name in self.private):
            raise ConfigError(f"{both} cannot be public and private")
        if self.private and spill is None:
            raise ConfigError("private= keeps values on the server: say where with spill=")
        if self.is_readable and spill is not None and not self.private:
            raise ConfigError(
                "what is public is there to be read, so it travels whole: spill= has nothing to keep without private="
            )
        if revocation is None and revoke_within is not None:
            raise ConfigError("revoke_within= is about the store of revocation=: name one, or leave it out")
        self.spill, self.revocation = spill, revocation
        self.revoke_within = seconds(
            DEFAULT_REVOKE_WITHIN if revoke_within is None else revoke_within, "revoke_within"
        )

    def require(self) -> None:
        """Raise `ConfigError` if what makes and opens such tokens is not installed."""
        if self.format == "paseto":
            require("pyseto", "paseto", 'Token("paseto")')
        elif self.algorithm != "HS256":
            require("cryptography", "tokens", f'Token("{self.format}")')


def require(package: str, extra: str, wanted: str) -> None:
    """Raise `ConfigError`, with the `pip install` line, if a package is not installed."""
    try:
        import_module(package)
    except ImportError as error:
        raise ConfigError(f"{wanted} needs {package}: pip install 'holdfast[{extra}]'") from error
