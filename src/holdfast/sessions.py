"""`Sessions`: opens, loads, commits and ends sessions. Every rule is here or in the modules that it calls.

An adapter (ASGI and others) uses three calls for a request: `open` makes the handler's `Session` from the
`Cookie` header without any I/O, `load` fetches its record, `commit` keeps what was done and leaves the
`Set-Cookie` value, if one is needed, on the session.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

from . import writes
from .cookies import IdentityCookie, key_of, new_identity
from .errors import BadToken, ConfigError, ResponseStarted, SessionGone, StoreError
from .keyring import Keyring
from .record import Change, Record
from .session import Session
from .settings import Duration, default_keys, default_store, seconds
from .stores import Store, from_url
from .stores.guard import Guard
from .sync import SyncSessions
from .work import Work

# For so long after a session ended or changed its identity, a request with the old one may be a late one
# whose browser holds a newer cookie already: it must not be given another.
_JUST_ENDED_SECONDS = 30.0

# The part of the idle timeout that must have gone by before reading alone writes a new deadline.
_RENEWAL_SHARE = 0.1

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
    - `keys`: a `Keyring`, one secret, or a list of them, newest first. None: `HOLDFAST_KEYS`, or else a key
      file in the working directory, readable by its owner only.
    - `idle`, `absolute`: a session ends when it was not used for so long, and so long after it was created or
      signed in. `"90s"`, `"30m"`, `"12h"`, `"14d"`, seconds or a timedelta.
    - `cookie_name`: gets the prefix `__Host-` unless it begins with `__`.
    - `insecure_http`: let the cookie travel over plain http, for development only.
    - `outage`: when the store cannot be reached, `"refuse"` answers 503 to requests that touch the session;
      `"anonymous"` lets them read an empty one. Writes are refused either way, and no cookie is deleted.
    - `clock`: returns seconds since the epoch.

    Raises `ConfigError` for whatever could not work, saying what to do.
    """

    def __init__(
        self,
        store: str | Store | None = None,
        *,
        keys: Keyring | str | bytes | Iterable[str | bytes] | None = None,
        idle: Duration = "30m",
        absolute: Duration = "12h",
        cookie_name: str = "session",
        insecure_http: bool = False,
        outage: Literal["refuse", "anonymous"] = "refuse",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._idle = seconds(idle, "idle")
        self._absolute = seconds(absolute, "absolute")
        if outage not in ("refuse", "anonymous"):
            raise ConfigError(f'outage={outage!r} is unknown: it is "refuse" or "anonymous"')
        self._outage = outage
        self._clock = clock
        in_memory = store == "memory://"
        if store is None:
            store = default_store()
        self._store = Guard(from_url(store) if isinstance(store, str) else store)
        if keys is None:
            # What is kept in memory dies with the process, and so may its keys.
            self._keys = Keyring.generate() if in_memory else default_keys()
        else:
            self._keys = Keyring.of(keys)
        self._cookie = IdentityCookie(self._keys, cookie_name, insecure_http=insecure_http)

    # For adapters

    def open(self, cookie_header: bytes | None) -> Session:
        """The session of a request with this `Cookie` header, not loaded yet. No I/O, and it never raises.

        Without a valid identity there is nothing to load: the session is new, and ready.
        """
        if not cookie_header:
            return Session(self)
        try:
            return Session(self, self._cookie.read(cookie_header))
        except BadToken:
            return Session(self)

    async def load(self, session: Session) -> None:
        """Fetch the session's record, if it has one and it is not there yet: one command.

        A store that fails is not raised here but by whatever touches the session: requests that need no
        session do not notice an outage.
        """
        if session._loaded or session._identity is None:
            return
        key = key_of(session._identity)
        try:
            record = await self._store.carry(self._store.load(key))
        except StoreError as error:
            session._failure = error
            if self._outage == "anonymous":
                session._refusal = error
                session._attach(None, None)
            return
        session._failure = None
        now = self._clock()
        if record is not None and self._is_live(record, now):
            session._attach(key, record)
            return
        session._attach(None, None)
        ended_at = writes.ended_at(record) if record is not None else None
        if record is not None and ended_at is not None and now < ended_at + _JUST_ENDED_SECONDS:
            session._refusal = SessionGone("this session has just ended, or goes on under another identity")
            session._is_over = not writes.goes_on(record)

    async def commit(self, session: Session) -> None:
        """Keep what was done to the session, before the response leaves.

        Raises `SessionGone` if the session has ended meanwhile (409), `StoreError` if the store has not
        accepted the change (503), `SessionTooLarge` or TypeError if it cannot, `ResponseStarted` if it needs
        a cookie that can no longer be sent. Nothing is acknowledged if anything is raised.
        """
        if not session._loaded or not session._accessed:
            return
        work = session._work()
        creates = session._record is None and bool(work.set or session._owner)
        rotates = session._record is not None and session._rotating
        if not (work.set or work.unset or creates or rotates or session._logged_out):
            session._settle()
            await self._renew(session)
            return
        if session._refusal is not None and (creates or not session._is_over):
            raise session._refusal
        if session._started and (creates or rotates or session._logged_out):
            raise ResponseStarted(
                "a session cannot begin, end or change its identity once the response has begun: its cookie "
                "can no longer be sent"
            )
        await self._store.carry(self._keep(session, work, self._clock()))

    async def aclose(self) -> None:
        """Let go of the store's connections of this event loop. What is used afterwards opens new ones."""
        await self._store.aclose()

    # For administrators

    async def of(self, owner: str) -> list[SessionInfo]:
        """The live sessions of an owner, the latest first. Raises `StoreError`."""
        now = self._clock()
        records = await self._store.carry(self._store.of(owner))
        live = [
            SessionInfo(key, owner, record.created_at, record.expires_at)
            for key, record in records.items()
            if record.owner == owner and self._is_live(record, now)
        ]
        return sorted(live, key=lambda info: info.created_at, reverse=True)

    async def end(self, handle: str) -> bool:
        """End the session with this handle, on every instance; whether there was one. Raises `StoreError`."""
        if not _HANDLE.fullmatch(handle):
            return False
        return await self._store.carry(self._end(handle))

    async def end_all(self, owner: str, but: str | None = None) -> int:
        """End the owner's sessions, except the one with the handle `but`; how many. Raises `StoreError`."""
        ended = 0
        for info in await self.of(owner):
            if info.handle != but:
                ended += await self.end(info.handle)
        return ended

    async def sweep(self) -> int:
        """Delete what has expired, where the store does not do so itself; how many. Raises `StoreError`."""
        return await self._store.carry(self._store.sweep(self._clock()))

    @property
    def sync(self) -> SyncSessions:
        """The same calls for sync callers. Raises `ConfigError` if the store has only an async client."""
        self._store.require_sync()
        return SyncSessions(self)

    # The rules

    def _is_live(self, record: Record, now: float) -> bool:
        return record.is_live(now) and now < record.created_at + self._absolute

    def _expiry(self, created_at: float, now: float) -> float:
        return min(now + self._idle, created_at + self._absolute)

    def _renewed(self, record: Record, now: float) -> float | None:
        """The new deadline, if it is far enough from the stored one to be worth a write."""
        expires_at = self._expiry(record.created_at, now)
        return expires_at if expires_at - record.expires_at >= self._idle * _RENEWAL_SHARE else None

    async def _renew(self, session: Session) -> None:
        """Write a new idle deadline if it is due. A request that only read is not disturbed by a failure."""
        key, record, now = session._key, session._record, self._clock()
        if key is None or record is None or (expires_at := self._renewed(record, now)) is None:
            return
        change = Change(writes.new_tag(), now, expires_at=expires_at, owner=record.owner)
        try:
            session._rebase(key, await self._store.carry(self._store.commit(key, change)))
        except (StoreError, SessionGone):
            return

    async def _keep(self, session: Session, work: Work, now: float) -> None:
        """Do what the request asks for, and leave the cookie on the session once all of it is done."""
        key, record = session._key, session._record
        if session._logged_out:
            if session._leaving is not None:
                leaving, last = session._leaving
                await self._store.end(leaving, writes.tombstone(last, now))
                session._leaving = None
            if session._identity is not None and not session._is_over:
                session._cookie = self._cookie.clear()
            session._logged_out = False
        if key is None or record is None:
            if work.set or session._owner:
                await self._create(session, work, now)
            return
        if session._rotating:
            await self._rotate(session, key, record, work, now)
        elif work.set or work.unset:
            expires_at = self._renewed(record, now)
            session._rebase(key, await writes.change(self._store, key, record, work, now, expires_at))

    async def _create(self, session: Session, work: Work, now: float) -> None:
        identity = new_identity()
        record = Record(
            version=1,
            tag=writes.new_tag(),
            values=work.set,
            owner=session._owner,
            created_at=now,
            expires_at=self._expiry(now, now),
        )
        await writes.create(self._store, key_of(identity), record)
        session._rebase(key_of(identity), record)
        session._cookie = self._cookie.plant(identity, self._absolute)

    async def _rotate(self, session: Session, key: str, record: Record, work: Work, now: float) -> None:
        identity = new_identity()
        created_at = now if session._signing_in else record.created_at
        successor = Record(
            version=record.version + 1,
            tag=writes.new_tag(),
            values={},
            owner=session._owner,
            created_at=created_at,
            expires_at=self._expiry(created_at, now),
        )
        moved = await writes.rotate(self._store, key, record, key_of(identity), successor, work, now)
        session._rebase(key_of(identity), moved)
        session._cookie = self._cookie.plant(identity, created_at + self._absolute - now)

    async def _end(self, key: str) -> bool:
        now = self._clock()
        record = await self._store.load(key)
        if record is None or not self._is_live(record, now):
            return False
        await self._store.end(key, writes.tombstone(record, now))
        return True
