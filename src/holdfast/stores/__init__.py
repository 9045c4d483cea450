"""What a store is, and which ones Holdfast knows.

A store does I/O and nothing else: every rule (ids, codec, timeouts, rotation, retries) is in `Sessions`.
A new store is one file here and one row in `KNOWN`; `holdfast.testing.conformance` holds it to the law.
"""

from __future__ import annotations

from importlib import import_module
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from ..errors import ConfigError
from ..record import Change, Record


class Store(Protocol):
    """A durable home of records. Every method is atomic and safe to repeat.

    Methods raise their client's own errors; `Sessions` wraps them. Every call ends within the store's time limit
    (2 seconds, if nothing else is set) or `deadline.limit` of it, with a TimeoutError or its client's like of it.
    A store may tell more about itself with these attributes, each optional:

    - `colours`, a frozenset of "sync" and "async" (both, if it is missing): "sync" says that the methods
      never suspend when driven by hand; "async" that they never block an event loop.
    - `unavailable` and `throttled`, tuples of exception types that mean `StoreUnavailable` and
      `StoreThrottled`; any other error is a `StoreError`.
    - `max_bytes`, the largest record it takes, names and values together.
    - `writes_per_second`, how many changes of one record it takes in the long run, where that is few.
    - `aclose()`, a coroutine that lets go of its connections.
    """

    async def create(self, key: str, record: Record) -> bool:
        """Insert if the key is free; False if it is not. Never overwrites.

        What is inserted stays loadable for about a minute after it has expired, for instances whose clock is
        behind.
        """
        ...

    async def load(self, key: str, *, weak: bool = False) -> Record | None:
        """The newest record, expired and ended ones included; None if there is none (any more).

        With `weak` any recent one will do, where that is cheaper.
        """
        ...

    async def commit(self, key: str, change: Change) -> Record:
        """Apply the change to the stored record, version + 1, and return the result.

        If the stored tag is already `change.tag`, it was applied before: return what is stored.
        If the record is missing, ended, or expired at `change.now`: raise `SessionGone`.
        If `change.base` is given and is not the stored version: raise `Conflict(current)`.
        An expiry below zero is that of a session which a rotation seals at -`expires_at`: the record, or a tombstone
        in its place, stays loadable for about a minute after that.
        """
        ...

    async def end(self, key: str, tombstone: Record) -> None:
        """Replace whatever is there by the tombstone; missing is fine."""
        ...


@runtime_checkable
class Owned(Protocol):
    """A store that can list the sessions of one user. Entries die with their session."""

    async def of(self, owner: str) -> dict[str, Record]:
        """The owner's records by key. Ended and expired ones may be among them; a committed one is not missed."""
        ...


@runtime_checkable
class Sweeps(Protocol):
    """A store whose expired records do not go away by themselves."""

    async def sweep(self, now: float) -> int:
        """Delete the records, tombstones too, that expired before `now`; how many they were.

        An expiry below zero is that of a session which a rotation has sealed at -`expires_at`. It stays for a minute
        after that, so that late requests are told that the session has gone on under another key.
        """
        ...


@runtime_checkable
class Caches(Protocol):
    """A store that can also hold copies, for `cache=`: each for a while, and it may lose any of them at any time.

    The place of a copy is empty, or holds a claim, or a copy with its rank (an integer from 0 to 2**63 - 1).
    Every method is atomic, and for a single key they take effect one after the other. `life` is in seconds;
    nothing stays longer. Methods raise their client's own errors, after which the place is as it was before or
    as it should be, but never of a lower rank than it was.

    `max_bytes`, if a store has it, also limits the data of a copy. Where one key's copies can fail while
    another's do not, `node_of(key)` tells them apart.
    """

    async def get_copy(self, key: str) -> bytes | None:
        """The data of the copy; None where there is none, or only a claim. One command."""
        ...

    async def claim_copy(self, key: str, claim: bytes, life: float) -> bool:
        """Put the claim, any short bytes that nobody else uses, into an empty place; False if it is not empty."""
        ...

    async def fill_copy(self, key: str, claim: bytes, rank: int, data: bytes, life: float) -> bool:
        """Put a copy into the place of this very claim; False if that is not there any more."""
        ...

    async def put_copy(self, key: str, rank: int, data: bytes, life: float) -> bool:
        """Replace a copy of the same or a lower rank, and take a claim away; an empty place stays empty.

        True once nothing of a lower rank is there. It never fills an empty place: a newer copy may have been
        there, and have been thrown out.
        """
        ...


class Page(NamedTuple):
    """Some records by key; `after` is where to go on, None when there are no more."""

    records: dict[str, Record]
    after: str | None


@runtime_checkable
class Scans(Protocol):
    """A store that can be read from one end to the other, which moving to another store takes."""

    async def scan(self, after: str | None, most: int) -> Page:
        """About `most` of the records, from the beginning (None) or from where another page has ended.

        Going on until `after` is None meets every record that is there all the while, at least once; ended and
        expired ones, and those that come and go meanwhile, may be among them or not. A place to go on from stays
        good for days, and for other instances; `after` is text without control characters.
        """
        ...

    async def count(self) -> int:
        """About how many records there are, from what the engine knows cheaply: for showing progress."""
        ...


class Part(NamedTuple):
    """One thing that a store needs of its engine: a table, an index, a setting.

    `state` is "there", "missing", "made" (it was missing until now) or "wrong"; `detail` says what it should be.
    """

    name: str
    state: Literal["there", "missing", "made", "wrong"]
    detail: str = ""


@runtime_checkable
class Provisions(Protocol):
    """A store that can create and check what it needs: its table, container, collection, schema, settings."""

    async def provision(self, *, create: bool) -> list[Part]:
        """What the store needs, each with its state; with `create` what is missing is made first.

        What is there is never changed or removed, however wrong: that is for people. Raises its client's errors.
        """
        ...

    def as_code(self, form: str) -> str:
        """The same as code for `form`, with the least rights that an application needs at run time.

        Creating tables is not among these. Raises `ConfigError`, naming the forms that there are, for any other.
        """
        ...


class Known(NamedTuple):
    """Where a URL scheme's store is, and which extra brings its client (None: it needs none)."""

    place: str
    extra: str | None = None


KNOWN = {
    "memory": Known("holdfast.stores.memory:MemoryStore"),
    "sqlite": Known("holdfast.stores.sqlite:SQLiteStore"),
    "redis": Known("holdfast.stores.redis:RedisStore", "redis"),
    "rediss": Known("holdfast.stores.redis:RedisStore", "redis"),
    "redis+cluster": Known("holdfast.stores.redis:RedisStore", "redis"),
    "rediss+cluster": Known("holdfast.stores.redis:RedisStore", "redis"),
    "redis+sentinel": Known("holdfast.stores.redis:RedisStore", "redis"),
    "rediss+sentinel": Known("holdfast.stores.redis:RedisStore", "redis"),
    "memcached": Known("holdfast.stores.memcached:MemcachedStore", "memcached"),
    "postgresql": Known("holdfast.stores.postgres:PostgresStore", "postgres"),
    "postgres": Known("holdfast.stores.postgres:PostgresStore", "postgres"),
    "dynamodb": Known("holdfast.stores.dynamodb:DynamoDBStore", "dynamodb"),
    "cosmos": Known("holdfast.stores.cosmos:CosmosStore", "cosmos"),
    "firestore": Known("holdfast.stores.firestore:FirestoreStore", "firestore"),
}


def from_url(url: str) -> Store:
    """The store that a URL names, for example `sqlite:///sessions.db` or `redis://cache:6379/0`.

    Raises `ConfigError` for an unknown scheme, a URL that the store cannot use, or a client that is not
    installed (with the `pip install` line).
    """
    from urllib.parse import urlsplit  # it takes 2 ms, and whoever makes the store has no use for it

    try:
        scheme = urlsplit(url).scheme.lower()
    except ValueError as error:
        raise ConfigError(f"the URL of the store is no URL: {error}") from error
    known = KNOWN.get(scheme)
    if known is None:
        raise ConfigError(f"no store is known for {scheme or url!r}; known are {', '.join(KNOWN)}")
    module, name = known.place.split(":")
    try:
        factory = getattr(import_module(module), name)
    except ImportError as error:
        if known.extra is None:
            raise
        raise ConfigError(f"{scheme}:// needs a client: pip install 'holdfast[{known.extra}]'") from error
    store: Store = factory.from_url(url)
    return store
