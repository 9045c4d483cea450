"""Access and refresh tokens for APIs and mobile clients (RFC 6750; RFC 9700).

    bearer = Bearer("postgresql://…", Token("jws", public={"role"}), keys=keyring)

    pair = await bearer.issue("user-42", {"role": "admin"})  # at sign-in; `pair.answer()` is the response's body
    claims = await bearer.check(request.headers.get("authorization"))  # any instance; raises BadToken; or, for
    # `request.session`, Sessions(token=…, transport="bearer")
    pair = await bearer.refresh(refresh_token)  # every few minutes; raises BadToken

The access token is the session, short-lived, and any service with the key reads it without a store. The refresh token
is a secret of one client: it is exchanged for a new pair each time, and one that turns up twice ends the session (see
`holdfast.tokens.refresh`). The session itself is a record in the store, so it can be listed, changed and ended there.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from ._colour import by_hand, off_loop
from .cookies import key_of
from .errors import BadToken, ConfigError, StoreError
from .events import Event, Events
from .keyring import Keyring
from .settings import BEARER_NAME, Duration, default_keys, seconds
from .stores import Store, from_url
from .stores.guard import Guard
from .timeouts import Timeouts
from .tokens import Secrecy, Token
from .tokens.families import Families
from .tokens.pairs import Claims, Pair, Pairs, Presented, claims_of, encoded
from .tokens.refresh import STATE
from .tokens.revocation import Revocations, about
from .work import Work

if TYPE_CHECKING:
    from .sessions import SessionInfo
    from .sync import SyncBearer

T = TypeVar("T")

_NAME = re.compile(r"[A-Za-z0-9._~ -]{1,64}")

# Anybody can send these: they are no news.
_COMMON = frozenset({"no bearer token", "malformed", "expired", "ended"})


class Bearer:
    """Hands out access and refresh tokens for the sessions in `store`.

    - `token`: the format of access tokens, as for `Sessions(token=…)`. Those that anybody can read tell what is
      `public` and nothing else. If it names a store for `revocation`, what ends here is noted there, and every
      `check` and `Sessions(token=…, transport="bearer")` refuses its access tokens within `revoke_within`.
    - `private`: names (or `"prefix*"`) of values that no access token tells.
    - `name`: which Bearer of the application it is; tokens of another one are refused.
    - `access`: how long an access token lives, and so how long one is good after its session has ended.
    - `idle`: how long a refresh token lives; `absolute`: how long a session lasts at most.
    - `grace`: for how long the token before the newest may be used once more; 0 is not at all.
    - `clock` returns seconds since the epoch; `on_event` is called with each `Event`.

    Raises `ConfigError` for what could not work. Calls raise `StoreError` where the store fails.
    """

    def __init__(
        self,
        store: str | Store,
        token: Token | None = None,
        *,
        keys: Keyring | str | bytes | None = None,
        private: Collection[str] = (),
        name: str = BEARER_NAME,
        access: Duration = "5m",
        idle: Duration = "30d",
        absolute: Duration = "90d",
        grace: Duration = "30s",
        clock: Callable[[], float] = time.time,
        on_event: Callable[[Event], object] | None = None,
    ) -> None:
        token = Token() if token is None else token
        life = seconds(access, "access")
        timeouts = Timeouts(seconds(idle, "idle"), seconds(absolute, "absolute"))
        lenience = 0.0 if grace in (0, "0s") else seconds(grace, "grace")
        secrecy = Secrecy(private, "private")
        _check(token, secrecy, name, life, lenience, timeouts)
        keyring = default_keys() if keys is None else Keyring.of(keys)
        self._name = name
        self._clock = clock
        self._events = Events(on_event)
        self._pairs = Pairs(token, keyring, name, private=secrecy, life=life)
        self._stores = [_guarded(store)]
        revocations = None
        if token.revocation is not None:
            self._stores.append(_guarded(token.revocation))
            revocations = Revocations(
                self._stores[1],
                tokens=about(token, f"bearer {name}"),
                within=token.revoke_within,
                longest_life=life,
                skew=0.0,
                clock=clock,
            )
        self._colours = frozenset({"sync", "async"}).intersection(*(each.colours for each in self._stores))
        if not self._colours:
            raise ConfigError("the store and revocation= have no colour in common: sync or async")
        self._families = Families(
            self._stores[0],
            self._pairs,
            timeouts=timeouts,
            grace=lenience,
            revocations=revocations,
            clock=clock,
            events=self._events,
        )
        self._revocations = revocations

    # For an application's clients

    async def issue(self, owner: str, values: Mapping[str, Any] | None = None) -> Pair:
        """Begin a session for a user who has just signed in, holding these values.

        Raises TypeError or `SessionTooLarge` for values that a session, or its access token, cannot hold.
        """
        if not isinstance(owner, str) or not owner:
            raise TypeError("an owner is a text that is not empty")
        owner.encode()  # lone surrogates cannot be kept by every store
        return await self._carry(self._families.begin(owner, encoded(values or {})))

    async def check(self, authorization: str | bytes | None) -> Claims:
        """What the access token in an `Authorization` header says, for requests. Raises `BadToken`.

        With `Token(revocation=…)`, "ended" within `revoke_within` of the session's end, wherever that was: the notes
        are asked once what this instance knows is older, and a `StoreError` comes through. Else no store is asked.
        """
        claims, is_due = self._open(authorization)
        if is_due and self._revocations is not None:
            asked = self._revocations.ask(claims.handle, None, claims.created_at)
            if await self._carry(asked) is not None:
                raise BadToken("ended")
        return claims

    def open(self, authorization: str | bytes | None) -> Claims:
        """As `check`, by what is at hand: asks no store. Raises `BadToken`.

        "ended" if this instance has ended the session, or has heard of it; else the token is good until it expires.
        """
        return self._open(authorization)[0]

    async def refresh(self, token: str | bytes | None) -> Pair:
        """A new pair in exchange for a refresh token.

        Raises `BadToken`: "ended" if the session is over, "reused" if it is from now on, and "malformed", "unknown
        key" or "bad mac" for what was never ours; in each case the user signs in anew. After a `StoreError` the
        token may be used again.
        """
        family, generation = self._read(token)
        return await self._carry(self._families.advance(family, generation))

    async def revoke(self, token: str | bytes | None) -> None:
        """Sign out: end the session of a refresh token, of whichever generation (RFC 7009). Raises `BadToken`.

        Its access token lives on for `access` at most.
        """
        family, _ = self._read(token)
        await self._carry(self._families.end(key_of(family), "session ended"))

    def challenge(self, error: BadToken | None = None) -> str:
        """The `WWW-Authenticate` header of a 401 (RFC 6750, 3). It says no more than a client has to know."""
        said = f'Bearer realm="{self._name}"'
        if error is None or error.reason == "no bearer token":
            return said
        why = ', error_description="expired"' if error.reason == "expired" else ""
        return f'{said}, error="invalid_token"{why}'

    # For handlers and administrators

    async def load(self, handle: str) -> Claims:
        """The session with this handle as the store has it now, private values too. Raises `SessionGone`.

        For what must not be done with the access token of a session that has ended a minute ago.
        """
        return claims_of(handle, await self._carry(self._families.load(handle)))

    async def change(self, handle: str, values: Mapping[str, Any], unset: Collection[str] = ()) -> None:
        """Set and remove values of a session; the next refresh tells. What others change meanwhile is kept.

        Raises `SessionGone`, and TypeError or `SessionTooLarge` as `issue` does.
        """
        if isinstance(unset, str | bytes):
            # Its letters would be taken for the names, and a right would stay.
            raise TypeError(f"unset={unset!r} is one text: write a list of names")
        work = Work(encoded(values), frozenset(unset).difference({STATE, *values}), {})
        await self._carry(self._families.change(handle, work))

    async def of(self, owner: str) -> list[SessionInfo]:
        """The owner's live sessions that any Bearer on this store has begun, the latest first."""
        from .sessions import SessionInfo

        found = [
            SessionInfo(handle, owner, record.created_at, record.expires_at)
            for handle, record in (await self._carry(self._families.of(owner))).items()
        ]
        return sorted(found, key=lambda info: info.created_at, reverse=True)

    async def end(self, handle: str) -> bool:
        """End the session with this handle; whether there was one."""
        return await self._carry(self._families.end(handle, "session revoked"))

    async def end_all(self, owner: str, but: str | None = None) -> int:
        """Sign a user out everywhere: end what `of` lists, except the one with the handle `but`; how many."""
        return sum([await self.end(info.handle) for info in await self.of(owner) if info.handle != but])

    @property
    def sync(self) -> SyncBearer:
        """The same calls for sync callers. Raises `ConfigError` if a store has only an async client."""
        if "sync" not in self._colours:
            raise ConfigError(
                "a store that has only an async client has no sync callers: they need a blocking one"
            )
        from .sync import SyncBearer

        return SyncBearer(self)

    async def aclose(self) -> None:
        """Let go of the connections of this event loop."""
        for store in self._stores:
            await store.aclose()

    def _open(self, authorization: str | bytes | None) -> tuple[Claims, bool]:
        """What an access token says, and whether it is time to ask if its session has ended."""
        try:
            claims = self._pairs.open(authorization, self._clock())
            if self._revocations is None:
                return claims, False
            # `end_all` ends a user's sessions one by one: no note is about all of them.
            known = self._revocations.at_hand(claims.handle, None, claims.created_at)
            if known.ending is not None:
                raise BadToken("ended")
        except BadToken as error:
            self._tell(error)
            raise
        return claims, known.is_due

    def _read(self, token: str | bytes | None) -> Presented:
        try:
            return self._pairs.read(token)
        except BadToken as error:
            self._tell(error)
            raise

    def _tell(self, error: BadToken) -> None:
        if error.reason not in _COMMON:
            self._events.tell("token refused", detail=error.reason)

    async def _carry(self, operation: Coroutine[Any, Any, T]) -> T:
        """Run an operation in the colour of whoever waits for it: see `Homes.carry`."""
        try:
            if "async" in self._colours or by_hand():
                return await operation
            return await off_loop(operation)
        except StoreError as error:
            self._events.tell("store unavailable", detail=str(error))
            raise


def _check(
    token: Token, private: Secrecy, name: str, access: float, grace: float, timeouts: Timeouts
) -> None:
    """Raise `ConfigError` for what could not work."""
    if not isinstance(token, Token):
        raise ConfigError(f'token={token!r}: write Token(), or Token("jws", …)')
    if token.private or token.spill is not None:
        raise ConfigError(
            "a Bearer has a store: leave private= and spill= out of its Token, and give it private="
        )
    if both := [each for each in token.public.names if each in private]:
        raise ConfigError(f"{sorted(both)} cannot be public and private")
    if token.revocation == "memory://":
        raise ConfigError("each memory:// is a memory of its own: give one MemoryStore() to revocation=")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigError(f"name={name!r}: a Bearer's name is some letters and digits")
    if access >= min(timeouts):
        raise ConfigError("access= has to be shorter than idle= and absolute=: a refresh comes before them")
    if grace >= timeouts.idle:
        raise ConfigError("grace= is for a response that was lost: seconds, and less than idle=")


def _guarded(store: str | Store) -> Guard:
    guard = Guard(from_url(store) if isinstance(store, str) else store)
    if getattr(guard.store, "forgets", False):
        raise ConfigError(
            f"{guard.name} forgets what it was told when it runs full or restarts: take another store"
        )
    return guard
