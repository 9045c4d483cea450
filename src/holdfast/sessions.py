"""`Sessions`: the sessions of one application, as its handlers, adapters and administrators use them.

An adapter (ASGI and others) uses three calls for a request: `open` makes the handler's `Session` from what the
browser sent, without any I/O, `load` fetches its record, `commit` keeps what was done and leaves what the browser
has to be told on the session.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Literal, NamedTuple

from .commits import Regression, Rules
from .cookies import Cookies
from .engine import Engine, Outage
from .errors import ConfigError
from .events import Event, Events
from .floor import FloorToken
from .headers import TokenHeaders
from .homes import Homes
from .keyring import Keyring
from .ladder import FRESHNESS, Freshness
from .reading import Reading
from .session import Session
from .settings import BEARER_NAME, COOKIE_NAME, Duration, default_keys, default_store, one_of, seconds, size
from .stores import Store, from_url
from .sync import SyncSessions
from .timeouts import Timeouts

if TYPE_CHECKING:
    from .tokens import Token
    from .tokens.engine import TokenEngine
    from .tokens.snapshots import Snapshots

_HANDLE = re.compile(r"[0-9a-f]{64}")


class SessionInfo(NamedTuple):
    """One live session in a list of an owner's. Times are seconds since the epoch."""

    handle: str
    owner: str
    created_at: float
    expires_at: float


class Sessions:
    """The sessions of one application.

    - `store`: a URL (`sqlite:///sessions.db`, `redis://cache:6379/0`, `memory://`) or a ready store.
      None: `HOLDFAST_STORE`, or else a SQLite file in the working directory.
    - `keys`: a `Keyring`, the URL of a place, one secret, or several, newest first. None: `HOLDFAST_KEYS`, or
      else a key file in the working directory, readable by its owner only.
    - `idle`, `absolute`: a session ends when it was not used for so long, and so long after it was created or
      signed in. `"90s"`, `"30m"`, `"12h"`, `"14d"`, seconds or a timedelta.
    - `cookie_name`: "session" if nothing is said; gets the prefix `__Host-` unless it begins with `__`. With
      `transport="bearer"` it is the name of the `Bearer`, "api" if nothing is said.
    - `insecure_http`: let the cookie travel over plain http, for development only.
    - `transport`: `"cookie"`, `"header"` for clients that keep no cookies (see `holdfast.headers`), or `"bearer"` for
      the access tokens of a `Bearer`.
    - `outage`: when the store cannot be reached, `"refuse"` answers 503 to requests that touch the session;
      `"read_only"` lets them read this instance's copy, of whatever age, if it is not behind what the browser has
      seen nor known to have ended; `"anonymous"` lets them read an empty one. Writes are refused in each case,
      and no cookie is deleted.
    - `clock`: returns seconds since the epoch.

    Copies, each safe to lose, and served to a browser only if it is provably new enough for it:

    - `cache`: a URL or ready store that all instances share in front of the store (Redis, Memcached).
    - `local`: how much of this instance's memory copies may take, `"64MB"`; None is off.
    - `copy_age`: how old a local copy may be, and how far behind a replica is taken to be at most.
    - `weak`: read from replicas, or eventually consistently, where the store offers that and it is cheaper.
    - `freshness`: what routes want that say nothing else: `"session"` (never older than what this browser has
      seen), `"strong"` (the store's newest), `"any"` (a copy of any browser's age).
    - `detect_loss`: notice when the store has lost what it acknowledged, even without copies; off, if nothing is said.
      With `token=`, notice when tabs overwrite each other's changes; on, if nothing is said and a store is there.
    - `regression`: what to do then: `"accept"` what is stored now, or `"end"` the session. An event either way.
    - `on_event`: called with each `Event`; a hook that raises harms no request.
    - `snapshot`: for how long a browser may carry a sealed copy of its session, `"30s"`; None is off.
    - `private`: names (or `"prefix*"`) of values that no snapshot carries.
    - `revoke_within`: in which time the end of a session reaches every instance that serves copies of it: a second.

    Or without a store:

    - `token`: a `Token`; sessions travel with their clients, and no store is asked (see `holdfast.tokens`).

    Raises `ConfigError` for whatever could not work, saying what to do.
    """

    def __init__(
        self,
        store: str | Store | None = None,
        *,
        keys: Keyring | str | bytes | Iterable[str | bytes] | None = None,
        idle: Duration = "30m",
        absolute: Duration = "12h",
        cookie_name: str | None = None,
        insecure_http: bool = False,
        transport: Literal["cookie", "header", "bearer"] = "cookie",
        outage: Outage = "refuse",
        clock: Callable[[], float] = time.time,
        cache: str | Store | None = None,
        local: str | int | None = "64MB",
        copy_age: Duration = "5s",
        weak: bool = False,
        freshness: Freshness = "session",
        detect_loss: bool | None = None,
        regression: Regression = "accept",
        on_event: Callable[[Event], object] | None = None,
        snapshot: Duration | None = None,
        private: Collection[str] = (),
        revoke_within: Duration | None = None,
        token: Token | None = None,
    ) -> None:
        one_of("transport", transport, "cookie", "header", "bearer")
        one_of("outage", outage, "refuse", "read_only", "anonymous")
        one_of("freshness", freshness, *FRESHNESS)
        one_of("regression", regression, "accept", "end")
        if outage == "read_only" and local is None:
            raise ConfigError('outage="read_only" reads local copies: it needs local="64MB"')
        if cookie_name is None:
            cookie_name = BEARER_NAME if transport == "bearer" else COOKIE_NAME
        self._timeouts = Timeouts(seconds(idle, "idle"), seconds(absolute, "absolute"))
        self._clock = clock
        events = Events(on_event)
        in_memory = store == "memory://"
        if store is None and token is None:
            store = default_store()
        # What is kept in memory dies with the process, and so may its keys.
        fallback = Keyring.generate if in_memory else default_keys
        keyring = fallback() if keys is None else Keyring.of(keys)
        cookies = Cookies(keyring, cookie_name, insecure_http=insecure_http)
        self._by_header = transport != "cookie"
        self._travelling: TokenEngine | None = None
        self._engine: Engine | TokenEngine
        if token is not None:
            from .tokens.assembly import refuse_beside, token_engine  # slow to load, and only needed here

            refuse_beside(
                token,
                private=private,
                revoke_within=revoke_within,
                store=store,
                cache=cache,
                snapshot=snapshot,
                weak=weak,
                outage=outage != "refuse",
                freshness=freshness != "session",
                local=local not in ("64MB", None),
                copy_age=copy_age != "5s",
            )
            self._engine = self._travelling = token_engine(
                token,
                keyring,
                cookies,
                transport=transport,
                name=cookie_name,
                detect_loss=detect_loss,
                regression=regression,
                timeouts=self._timeouts,
                clock=clock,
                events=events,
            )
            self.vary = self._travelling.vary
            return
        if transport == "bearer":
            raise ConfigError('transport="bearer" reads the access tokens of a Bearer: set token=')
        assert store is not None  # noqa: S101 - chosen above; for the type checker
        told_within = seconds("1s" if revoke_within is None else revoke_within, "revoke_within")
        snapshots = _snapshots(snapshot, private, told_within, cookies, keyring)
        homes = self._homes = Homes(
            from_url(store) if isinstance(store, str) else store,
            cache=cache,
            local_bytes=size(local, "local"),
            copy_age=seconds(copy_age, "copy_age"),
            weak=weak,
            clock=clock,
            events=events,
            revoke_within=told_within,
            snapshots=snapshots,
        )
        carrier = TokenHeaders(keyring, cookie_name) if self._by_header else cookies
        self.vary = carrier.vary  # the header that requests carry their session in
        rules = Rules(
            homes,
            transport=carrier,
            floors=FloorToken(keyring, cookies.name) if homes.have_copies or detect_loss else None,
            timeouts=self._timeouts,
            regression=regression,
            clock=clock,
            events=events,
        )
        self._engine = Engine(rules, outage=outage, freshness=freshness)

    # For adapters

    def open(
        self, cookie_header: bytes | None, headers: Iterable[tuple[bytes, bytes]] | None = None
    ) -> Session:
        """The session of a request, not loaded yet. No I/O, and it never raises.

        `cookie_header` is the request's `Cookie` header; with `transport="header"` all its `headers` are needed,
        names in lower case. Without a valid identity there is nothing to load: the session is new, and ready.
        """
        return Session(self._engine, headers or () if self._by_header else cookie_header)

    async def load(self, session: Session, freshness: Freshness | None = None) -> None:
        """Fetch the session's record, if it has one and it is not there yet.

        From the cheapest home that may answer; from the store it is one command. A store that fails is not
        raised here but by whatever touches the session: requests that need no session do not notice an outage.
        """
        await self._engine.load(session, freshness)

    async def commit(self, session: Session) -> None:
        """Keep what was done to the session, before the response leaves.

        Raises `SessionGone` if the session has ended meanwhile (409), `StoreError` if the store has not
        accepted the change (503), `SessionTooLarge` or TypeError if it cannot, `ResponseStarted` if it needs
        a cookie that can no longer be sent. Nothing is acknowledged if anything is raised.
        """
        await self._engine.commit(session)

    def explain(self, session: Session) -> Reading:
        """Which home answered the request's read, and why the others did not."""
        return session._reading or Reading("none", (("all", "nothing was read"),))

    async def aclose(self) -> None:
        """Let go of the connections of this event loop. What is used afterwards opens new ones."""
        await self._engine.aclose()

    # For administrators

    async def of(self, owner: str) -> list[SessionInfo]:
        """The live sessions of an owner, the latest first. Raises `StoreError`."""
        now = self._clock()
        records = await self._engine.of(owner)
        # By what is stored: a Bearer on the same store has timeouts of its own.
        live = [
            SessionInfo(key, owner, record.created_at, record.expires_at)
            for key, record in records.items()
            if record.owner == owner and record.is_live(now)
        ]
        return sorted(live, key=lambda info: info.created_at, reverse=True)

    async def end(self, handle: str) -> bool:
        """End the session with this handle, on every instance; whether there was one. Raises `StoreError`."""
        if not _HANDLE.fullmatch(handle):
            return False
        return await self._engine.end(handle)

    async def end_all(self, owner: str, but: str | None = None) -> int:
        """End the owner's sessions, except the one with the handle `but`; how many. Raises `StoreError`.

        Of sessions that travel with their clients (`token=`) nobody knows how many there are: 0, and none excepted.
        """
        if self._travelling is not None:
            if but is not None:
                raise ConfigError("but= names a session in a store: of a user's tokens none can be excepted")
            await self._travelling.end_all(owner)
            return 0
        ended = 0
        for info in await self.of(owner):
            if info.handle != but:
                ended += await self.end(info.handle)
        return ended

    async def sweep(self) -> int:
        """Delete what has expired, where the store does not do so itself; how many. Raises `StoreError`."""
        return await self._engine.sweep(self._clock())

    @property
    def sync(self) -> SyncSessions:
        """The same calls for sync callers. Raises `ConfigError` if the store has only an async client."""
        self._engine.require_sync()
        return SyncSessions(self)


def _snapshots(
    life: Duration | None, private: Collection[str], revoke_within: float, cookies: Cookies, keyring: Keyring
) -> Snapshots | None:
    """The snapshots that were asked for. Raises `ConfigError`."""
    if life is None:
        if private:
            raise ConfigError("private= is about what travels: set snapshot=, or name it in a Token")
        return None
    if cookies.is_single:
        raise ConfigError(
            "a host that passes one cookie only leaves no room for snapshots: leave snapshot= out"
        )
    from .tokens import Secrecy, require

    require("cryptography", "tokens", "snapshot=")  # only loaded for them
    from .tokens.snapshots import Snapshots, SnapshotToken

    token = SnapshotToken(keyring, cookies.name, Secrecy(private, "private"))
    return Snapshots(token, life=seconds(life, "snapshot"), revoke_within=revoke_within)
