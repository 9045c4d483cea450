"""A state of the model: a nested tuple of small integers.

Time is in it only as ages and remaining lives, so that the number of states is finite however many ticks go by.
"""

from __future__ import annotations

from typing import NamedTuple

NONE = -1  # no floor, no copy

# What a place in the shared cache holds.
EMPTY, CLAIM, ENTRY, TOMBSTONE = range(4)

# How far a request has come.
STARTED, PAST_COPIES, HAS_READ, COMMITTED, ANSWERED, ENDING, ENDED = range(7)

# What a response plants.
NOTHING, SHORT, LONG = range(3)

READ_YOUR_WRITES = "read-your-writes"
MONOTONIC_READS = "monotonic reads"
MONOTONIC_WRITES = "monotonic writes"
NO_REVIVAL = "no revival"
REVOCATION = "bounded revocation"
COPY_AGE = "bounded copy age"


PROMISES = frozenset({READ_YOUR_WRITES, MONOTONIC_READS, MONOTONIC_WRITES, NO_REVIVAL, REVOCATION, COPY_AGE})


class Broken(Exception):
    """A promise does not hold; `promise` says which."""

    def __init__(self, promise: str, text: str) -> None:
        super().__init__(f"{promise}: {text}")
        self.promise = promise
        self.text = text


class Browser(NamedTuple):
    """The cookie jar, and what the browser has been told so far by writes and by reads."""

    floor: int
    pin: int
    long_pin: int
    wrote: int
    saw: int
    carries: int = NONE  # the version of its snapshot, and the age of that
    carries_age: int = 0


class Instance(NamedTuple):
    """A local copy with its age, and the instance's view of the revoked feed."""

    version: int = NONE
    age: int = 0
    view_age: int = 0
    knows: int = 0


class Store(NamedTuple):
    """The newest version, how long ago each was committed, and how long ago the session ended."""

    version: int
    ages: tuple[int, ...]
    ended: int  # ticks since the tombstone, NONE while live
    acknowledged: int  # ticks since the end was acknowledged
    feed: int  # whether the feed was told


class Cache(NamedTuple):
    kind: int = EMPTY
    version: int = 0
    life: int = 0


class Request(NamedTuple):
    """One request under way. Fields that no longer matter are zeroed, so that equal futures are equal states."""

    phase: int
    who: str  # "b" the browser, "x" another device
    writes: int
    instance: int
    floor: int = 0
    strong: int = 0
    wrote: int = 0
    saw: int = 0
    version: int = 0
    claim: int = 0  # its claim is the one in the cache
    since: int = 0  # ticks since its read of the store
    plants: int = 0
    # Before it is answered, the snapshot that the browser has sent with it; then the one that its answer brings.
    carries: int = NONE
    carries_age: int = 0


class State(NamedTuple):
    browser: Browser
    instances: tuple[Instance, ...]
    store: Store
    cache: Cache
    requests: tuple[Request, ...]
    starts: int
    externals: int
    visits: int
    ends: int


Step = tuple[str, State]
INSTANCES = "ABCD"


def with_instance(state: State, at: int, instance: Instance) -> State:
    return state._replace(instances=(*state.instances[:at], instance, *state.instances[at + 1 :]))
