"""The mapping in the handler's hand. It does no I/O: it knows what was read, set, removed and asked for.

Each request has a `Session` of its own, decoded from the record's bytes: no two requests share an object.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterator, MutableMapping
from typing import Any, NamedTuple, Protocol

from .codec import Value
from .cookies import Headers
from .errors import HoldfastError, SessionNotLoaded
from .ladder import Freshness, Question
from .ledger import Ledger
from .reading import Reading
from .record import Record

_MISSING = object()


class Known(NamedTuple):
    """Whom a request comes from, and what it asks for."""

    identity: bytes
    question: Question


class Engine(Protocol):
    """Who loads and commits a session: `Sessions`."""

    async def load(self, session: Session, freshness: Freshness | None = None) -> None: ...
    async def commit(self, session: Session) -> None: ...
    def read(self, carried: Any) -> Any: ...

    # What most requests need takes no waiting; the two save them a coroutine.
    def begin_load(
        self, session: Session, freshness: Freshness | None = None
    ) -> Coroutine[Any, Any, None] | None: ...
    def is_settled(self, session: Session) -> bool: ...


class Session(MutableMapping[str, Value]):
    """The session of one request: a mapping of text to values that come back exactly as they were put in.

    Values are None, bool, int, float, str, bytes, datetime, date, UUID, Decimal, list, tuple, set, frozenset
    and dict; anything else raises TypeError naming the path to it. Looking into a session that is not loaded
    raises `SessionNotLoaded`; one that could not be loaded raises what the store's failure was wrapped in.
    """

    # Attributes with one underscore are for the engine and the adapters of this package. Most requests change few of
    # them, so that they are kept here until then.
    _loaded = False
    _ledger = Ledger()  # the values, and what was done to them: each that is loaded has its own
    _known: Any = None  # whom the request comes from, if it is ours
    _key: str | None = None  # at rest; None: not loaded, or nothing is stored for this browser
    _record: Record | None = None
    _is_new = True
    _owner: str | None = None

    _rotating = False
    _signing_in = False
    _logged_out = False
    _leaving: tuple[str, Record] | None = None  # the key and record that logout ends
    _held: Record | None = None  # what the server keeps of a session that travels with its client

    _accessed = False
    _failure: HoldfastError | None = None  # why it could not be loaded, or anew: raised when it is touched
    _refusal: HoldfastError | None = None  # why no change can be kept: raised at commit
    _is_over = False  # it was ended for good, so that a logout has nothing left to do
    _raised: HoldfastError | None = None  # the failure that the handler has met
    _started = False  # the response has begun: no cookie can be set any more
    _identity: bytes | None = None  # what the browser holds after the response
    _reading: Reading | None = None  # which home answered
    # What the browser has not seen yet, and whether the shared cache holds nothing older.
    _news: tuple[Record, bool] | None = None
    _copy: tuple[Record, float] | None = None  # what it may carry a snapshot of, and as of when
    _is_fresh = False  # that identity is new to it
    _planted: Headers = []  # noqa: RUF012 - replaced, never changed.  What tells it so: identity, floor and pin
    _cleared: Headers = []  # noqa: RUF012 - likewise.  What makes it forget them

    def __init__(self, engine: Engine, carried: object) -> None:
        self._engine = engine
        self._unread = self._carried = carried  # what the request carries; read when it is first needed
        if not carried:
            self._attach(None, None)

    # The mapping

    def __getitem__(self, key: str) -> Value:
        self._touch()
        value = self._ledger.get(key, _MISSING)
        if value is _MISSING:
            raise KeyError(key)
        return value

    def get(self, key: str, default: Any = None) -> Any:
        """The value, or `default` if there is none."""
        self._touch()
        return self._ledger.get(key, default)

    def __setitem__(self, key: str, value: Value) -> None:
        self._touch()
        self._ledger.put(key, value)

    def __delitem__(self, key: str) -> None:
        self._touch()
        self._ledger.remove(key)

    def __iter__(self) -> Iterator[str]:
        self._touch()
        return iter(self._ledger.keys())

    def __len__(self) -> int:
        self._touch()
        return len(self._ledger.keys())

    def __contains__(self, key: object) -> bool:
        self._touch()
        return self._ledger.has(key)

    def clear(self) -> None:
        """Remove every value."""
        for key in list(self):
            del self[key]

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
        return self._ledger.alter(key, fn, default)

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

    def load(self, freshness: Freshness | None = None) -> Awaitable[None]:
        """Load the session, where it was left unloaded (`lazy=True`).

        With `freshness="strong"`, also load it again, from the store, if a copy has answered: to be asked for
        before the session is changed (`ConfigError`). Otherwise nothing happens.
        """
        return self._engine.load(self, freshness)

    def commit(self) -> Awaitable[None]:
        """Keep what was changed, now: for WebSockets, and for streams whose response has begun.

        Raises `SessionGone`, `StoreError`, `SessionTooLarge`, TypeError; `ResponseStarted` if it would need a
        cookie that can no longer be sent.
        """
        return self._engine.commit(self)

    # For the engine

    def _touch(self) -> None:
        """Note that the session is looked at, and refuse if there is nothing to look at."""
        self._accessed = True
        if self._failure is not None:
            self._raised = self._failure
            raise self._failure
        if self._loaded:
            return
        if self._unread:
            self._read()
            if self._loaded:
                return
        raise SessionNotLoaded("this session is not loaded: `await session.load()` first (lazy=True)")

    def _read(self) -> None:
        """Read what the request carries. Without an identity of ours there is nothing to load."""
        if self._unread:
            carried, self._unread = self._unread, None
            known = self._known = self._engine.read(carried)
            if known is None:
                self._attach(None, None)
            else:
                self._identity = known.identity

    def _attach(self, key: str | None, record: Record | None, withheld: frozenset[str] = frozenset()) -> None:
        """Begin anew from what is stored (None: nothing is), of which the values that are `withheld` are not here."""
        self._key, self._record = key, record
        self._loaded, self._failure = True, None
        self._rotating = self._signing_in = False
        if record is None:
            self._is_new, self._owner, self._ledger = True, None, Ledger()
        else:
            self._is_new, self._owner, self._ledger = False, record.owner, Ledger(record.values, withheld)

    def _rebase(self, key: str, record: Record) -> None:
        """Go on from what was committed. Objects that the handler holds stay, unless others changed them."""
        self._key, self._record, self._owner = key, record, record.owner
        self._ledger.rebase(record.values)
        self._rotating = self._signing_in = False

    def _outgoing(self) -> Headers:
        """The headers that the response has to carry."""
        return self._planted if self._is_fresh or not self._cleared else self._cleared + self._planted

    def _settle(self) -> None:
        """What was asked for is done, or came to nothing."""
        self._ledger.settle()
        self._rotating = self._signing_in = False

    def _abandon(self) -> None:
        """Forget what this request has done."""
        self._ledger.abandon()
        self._leaving = None
        self._logged_out = False
        self._settle()

    def _has_marks(self) -> bool:
        """Whether a change was asked for by a call: the quick part of `_is_changed`."""
        return self._ledger.has_marks() or self._rotating or self._logged_out

    def _is_untouched(self) -> bool:
        """Whether nothing at all was asked of the session but to be looked at."""
        if not (self._loaded and self._accessed):
            return True
        return self._ledger.is_as_loaded() and not (self._rotating or self._logged_out)

    def _is_changed(self) -> bool:
        """Whether there is anything to commit."""
        if self._is_untouched():
            return False
        try:
            work = self._ledger.work()
        except TypeError:
            return True
        return bool(work.set or work.unset or self._rotating or self._logged_out)
