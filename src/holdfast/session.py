"""The mapping in the handler's hand. It does no I/O: it knows what was read, set, removed and asked for.

Each request has a `Session` of its own, decoded from the record's bytes: no two requests share an object.
Nested changes need no flag: mutable values that were handed out are encoded again at commit, and the bytes
compared with those that were loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from typing import Any, Protocol

from . import codec
from .codec import Value
from .errors import HoldfastError, SessionNotLoaded
from .record import Record
from .work import Alteration, Step, Work


class Engine(Protocol):
    """Who loads and commits a session: `Sessions`."""

    async def load(self, session: Session) -> None: ...
    async def commit(self, session: Session) -> None: ...


class Session(MutableMapping[str, Value]):
    """The session of one request: a mapping of text to values that come back exactly as they were put in.

    Values are None, bool, int, float, str, bytes, datetime, date, UUID, Decimal, list, tuple, set, frozenset
    and dict; anything else raises TypeError naming the path to it. Looking into a session that is not loaded
    raises `SessionNotLoaded`; one that could not be loaded raises what the store's failure was wrapped in.
    """

    # Attributes with one underscore are for the engine and the adapters of this package.
    def __init__(self, engine: Engine, identity: bytes | None = None) -> None:
        self._engine = engine
        self._identity = identity  # what the browser sent, if it is one of ours
        self._key: str | None = None  # at rest; None: not loaded, or nothing is stored for this browser
        self._record: Record | None = None
        self._loaded = identity is None
        self._is_new = True
        self._owner: str | None = None

        self._live: dict[str, Value] = {}  # values handed out or put in
        self._assigned: set[str] = set()
        self._removed: set[str] = set()
        self._altered: dict[str, Alteration] = {}
        self._rotating = False
        self._signing_in = False
        self._logged_out = False
        self._leaving: tuple[str, Record] | None = None  # the key and record that logout ends

        self._accessed = False
        self._failure: HoldfastError | None = None  # why it could not be loaded: raised when it is touched
        self._refusal: HoldfastError | None = None  # why no change can be kept: raised at commit
        self._is_over = False  # it was ended for good, so that a logout has nothing left to do
        self._raised: HoldfastError | None = None  # the failure that the handler has met
        self._started = False  # the response has begun: no cookie can be set any more
        self._cookie: str | None = None  # the Set-Cookie value that the response has to carry

    # The mapping

    def __getitem__(self, key: str) -> Value:
        self._touch()
        if key in self._live:
            return self._live[key]
        data = self._stored(key)
        if data is None:
            raise KeyError(key)
        value = self._live[key] = codec.decode(data)
        return value

    def __setitem__(self, key: str, value: Value) -> None:
        self._touch()
        codec.check_key(key)
        codec.encode(value, key)  # refused here, where the handler's line is in the traceback
        self._live[key] = value
        self._assigned.add(key)
        self._removed.discard(key)
        self._altered.pop(key, None)

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise KeyError(key)
        self._live.pop(key, None)
        self._assigned.discard(key)
        self._altered.pop(key, None)
        self._removed.add(key)

    def __iter__(self) -> Iterator[str]:
        self._touch()
        stored = self._record.values if self._record else {}
        yield from [key for key in stored if key not in self._removed]
        yield from [key for key in self._live if key not in stored]

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, key: object) -> bool:
        self._touch()
        return key in self._live or (isinstance(key, str) and self._stored(key) is not None)

    def __repr__(self) -> str:
        # Neither values nor identity: a session ends up in logs.
        return f"<Session {self._key or 'anonymous'}{'' if self._loaded else ', not loaded'}>"

    # What a session can do beyond a mapping

    def alter(self, key: str, fn: Callable[[Any], Any], default: Value = None) -> Value:
        """Replace the value by `fn(value)` (`fn(default)` if there is none), and return the new value.

        At commit, if another request has changed the session meanwhile, `fn` is applied again to the newest
        value until it wins: no concurrent change is lost. So `fn` may be called several times.
        """
        self._touch()
        codec.check_key(key)
        stored = self._stored(key)
        alteration = self._altered.get(key)
        if alteration is None:
            # A key that this request has already set, removed or changed in place no longer hangs on what
            # is stored: altering it is setting it.
            changed = key in self._live and (stored is None or not codec.is_same(self._live[key], stored))
            if key in self._assigned or key in self._removed or changed:
                self[key] = fn(self.get(key, default))
                return self._live[key]
            alteration = Alteration()
        step = Step(fn, codec.encode(default, key))
        value = fn(self[key] if key in self else codec.decode(step.default))
        alteration.result = codec.encode(value, key)
        alteration.steps.append(step)
        self._altered[key] = alteration
        self._live[key] = value
        return value

    def login(self, owner: str) -> None:
        """Bind the session to a user, under a new identity: whoever knew the old one is left outside.

        The data stays; the old identity is dead once the response leaves. The absolute timeout starts anew.
        """
        if not isinstance(owner, str) or not owner:
            raise TypeError("an owner is a text that is not empty")
        self._touch()
        owner.encode()  # lone surrogates cannot be kept by every store
        self._owner = owner
        self._rotating = self._signing_in = True

    def logout(self) -> None:
        """End the session: data and identity are gone for good, on every instance, and the cookie is cleared.

        What is put into the session afterwards begins a new one.
        """
        self._touch()
        if self._key and self._record:
            self._leaving = (self._key, self._record)
        self._logged_out = True
        self._attach(None, None)

    def rotate(self) -> None:
        """Give the session a new identity, at a change of privilege. Data, owner and timeouts stay."""
        self._touch()
        self._rotating = True

    @property
    def owner(self) -> str | None:
        """The user whom the session belongs to, None while it is anonymous."""
        self._touch()
        return self._owner

    @property
    def handle(self) -> str | None:
        """The session's public name, for logs, lists and `Sessions.end`; None while nothing is stored."""
        self._touch()
        return self._key

    @property
    def is_new(self) -> bool:
        """Whether nothing was stored for this browser when the request came."""
        self._touch()
        return self._is_new

    @property
    def created_at(self) -> float | None:
        """When it was created or signed in, in seconds since the epoch; None while nothing is stored."""
        self._touch()
        return self._record.created_at if self._record else None

    @property
    def expires_at(self) -> float | None:
        """When it expires unless it is used, in seconds since the epoch; None while nothing is stored."""
        self._touch()
        return self._record.expires_at if self._record else None

    async def load(self) -> None:
        """Load the session, where it was left unloaded (`lazy=True`); otherwise nothing happens."""
        await self._engine.load(self)

    async def commit(self) -> None:
        """Keep what was changed, now: for WebSockets, and for streams whose response has begun.

        Raises `SessionGone`, `StoreError`, `SessionTooLarge`, TypeError; `ResponseStarted` if it would need a
        cookie that can no longer be sent.
        """
        await self._engine.commit(self)

    # For the engine

    def _touch(self) -> None:
        """Note that the session is looked at, and refuse if there is nothing to look at."""
        self._accessed = True
        if self._loaded:
            return
        if self._failure is not None:
            self._raised = self._failure
            raise self._failure
        raise SessionNotLoaded("this session is not loaded: `await session.load()` first (lazy=True)")

    def _stored(self, key: str) -> bytes | None:
        """The loaded bytes of a key that this request has not removed."""
        if self._record is None or key in self._removed:
            return None
        return self._record.values.get(key)

    def _attach(self, key: str | None, record: Record | None) -> None:
        """Begin anew from what is stored (None: nothing is)."""
        self._key, self._record = key, record
        self._loaded = True
        self._is_new = record is None
        self._owner = record.owner if record else None
        self._live.clear()
        self._settle()

    def _rebase(self, key: str, record: Record) -> None:
        """Go on from what was committed. Objects that the handler holds stay, unless others changed them."""
        self._key, self._record, self._owner = key, record, record.owner
        for name, value in list(self._live.items()):
            data = record.values.get(name)
            if data is None or not codec.is_same(value, data):
                del self._live[name]
        self._settle()

    def _settle(self) -> None:
        self._assigned.clear()
        self._removed.clear()
        self._altered.clear()
        self._rotating = self._signing_in = False

    def _abandon(self) -> None:
        """Forget what this request has done."""
        self._live.clear()
        self._leaving = None
        self._logged_out = False
        self._settle()

    def _has_marks(self) -> bool:
        """Whether a change was asked for by a call: the quick part of `_is_changed`."""
        return bool(self._assigned or self._removed or self._altered or self._rotating or self._logged_out)

    def _is_changed(self) -> bool:
        """Whether there is anything to commit."""
        if not (self._loaded and self._accessed):
            return False
        try:
            work = self._work()
        except TypeError:
            return True
        return bool(work.set or work.unset or self._rotating or self._logged_out)

    def _work(self) -> Work:
        """What is to be committed. Raises TypeError, naming the path, for a value that cannot be kept."""
        stored = self._record.values if self._record else {}
        values: dict[str, bytes] = {}
        alterations = dict(self._altered)
        for key, value in self._live.items():
            if key in alterations:
                data = alterations[key].result
                if not codec.is_same(value, data):
                    # Changed in place after it was altered: what stands is what is meant.
                    del alterations[key]
                    data = codec.encode(value, key)
            elif key in self._assigned or not (
                codec.is_immutable(value) or codec.is_same(value, stored.get(key, b""))
            ):
                data = codec.encode(value, key)
            else:
                continue
            if data == stored.get(key):
                alterations.pop(key, None)
            else:
                values[key] = data
        return Work(values, frozenset(self._removed.intersection(stored)), alterations)
