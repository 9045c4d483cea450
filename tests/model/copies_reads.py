"""How a read finds its version: in a local copy, the shared cache, a replica, or the store."""

from __future__ import annotations

from collections.abc import Iterator

from copies_ground import Ground
from copies_state import (
    CLAIM,
    EMPTY,
    ENTRY,
    HAS_READ,
    INSTANCES,
    NONE,
    NOTHING,
    PAST_COPIES,
    REVOCATION,
    SHORT,
    Cache,
    Instance,
    Request,
    State,
    Step,
    Store,
    with_instance,
)


class Reads(Ground):
    """The steps of a read until it has its version."""

    def _look(self, state: State, place: int, request: Request) -> Iterator[Step]:
        if request.strong:
            yield from self._read_strongly(state, place, request)
            return
        world, at = self.world, request.instance
        name = f"the read on {INSTANCES[at]} (floor {request.floor})"
        instance = state.instances[at]
        sent, request = request, request._replace(carries=NONE, carries_age=0)
        unasked = sent.carries_age <= world.feed_age or not self.rules.snapshot_feed
        if unasked and not instance.knows:
            yield from self._serve_snapshot(state, place, sent)
        if world.ends and self.rules.feed:
            if instance.view_age > world.feed_age:
                if world.feed_fails:
                    yield from self._read_strongly(state, place, request)
                instance = Instance(instance.version, instance.age, 0, int(self._feed_tells(state)))
                state = with_instance(state, at, instance)
            if instance.knows:
                yield from self._read_strongly(state, place, request)
                return
        if not unasked:
            yield from self._serve_snapshot(state, place, sent)
        if instance.version != NONE and instance.version >= request.floor:
            self._check_age(state, instance.version)
            yield (
                f"{name} is served local version {instance.version}",
                self._serve(state, place, request, instance.version, 0, local=True),
            )
            return
        past = request._replace(phase=PAST_COPIES)
        if not world.cache:
            yield f"{name} finds no local copy", self._put_back(state, place, past)
            return
        if world.cache_fails:
            yield f"{name} cannot reach the cache", self._put_back(state, place, past)
        cache = state.cache
        if cache.kind == ENTRY and cache.version >= request.floor:
            self._check_age(state, cache.version)
            state = self._keep_local(state, at, cache.version)
            yield (
                f"{name} is served version {cache.version} by the cache",
                self._serve(state, place, request, cache.version, 0),
            )
        elif cache.kind == EMPTY:
            if self.rules.claims:
                state, past = state._replace(cache=Cache(CLAIM)), past._replace(claim=1)
                yield f"{name} misses in the cache and takes a claim", self._put_back(state, place, past)
            else:
                yield f"{name} misses in the cache", self._put_back(state, place, past._replace(claim=1))
        else:
            yield f"{name} finds nothing acceptable in the cache", self._put_back(state, place, past)

    def _serve_snapshot(self, state: State, place: int, sent: Request) -> Iterator[Step]:
        """It may answer; or not, where the instance has a copy of its own, or cannot open it."""
        version = sent.carries
        if version == NONE or (version < sent.floor and self.rules.snapshot_floor):
            return
        if self.world.cache and version > sent.floor:
            return  # the cache has to hear of it first
        self._check_age(state, version)
        name = f"the read on {INSTANCES[sent.instance]} (floor {sent.floor})"
        request = sent._replace(carries=NONE, carries_age=0)
        yield (
            f"{name} is served version {version} by its snapshot",
            self._serve(state, place, request, version, 0),
        )

    def _feed_tells(self, state: State) -> bool:
        """It forgets what ended longer ago than copies live; the time that the end itself takes is allowed for."""
        store, world = state.store, self.world
        horizon = world.longest_life
        if not self.rules.feed_outlives_snapshots:
            horizon -= world.oldest - world.copy_age
        return bool(store.feed) and store.ended <= horizon

    def _past_copies(self, state: State, place: int, request: Request) -> Iterator[Step]:
        if self.world.weak:
            for version in self._on_replicas(state.store):
                if version >= request.floor:
                    name = f"the read on {INSTANCES[request.instance]} (floor {request.floor})"
                    self._check_age(state, version)
                    after, served = state, request
                    if self.rules.weak_fills:
                        after = self._keep_local(after, request.instance, version)
                    else:
                        served = request._replace(claim=0)
                    yield (
                        f"{name} is served version {version} by a weak read",
                        self._serve(after, place, served, version, 0),
                    )
        yield from self._read_strongly(state, place, request)

    def _on_replicas(self, store: Store) -> Iterator[int]:
        """The versions that some replica may still have: those not superseded for longer than the lag."""
        lag = self.world.lag
        if store.ended == NONE or lag is None or store.ended <= lag:
            for version in range(store.version + 1):
                if version == store.version or lag is None or store.ages[version] <= lag:
                    yield version

    def _read_strongly(self, state: State, place: int, request: Request) -> Iterator[Step]:
        version = state.store.version
        name = f"the read on {INSTANCES[request.instance]}"
        if state.store.ended != NONE:
            yield f"{name} is told by the store that the session has ended", self._remove(state, place)
            return
        state = self._keep_local(state, request.instance, version)
        yield (
            f"{name} reads version {version} from the store",
            self._serve(state, place, request, version, request.claim, stored=True),
        )

    def _serve(
        self,
        state: State,
        place: int,
        request: Request,
        version: int,
        claim: int,
        *,
        local: bool = False,
        stored: bool = False,
    ) -> State:
        """The read has its version: next the cache, if it must be told, and then the answer."""
        world, store = self.world, state.store
        if store.acknowledged > world.feed_age:
            self._break(
                REVOCATION,
                f"version {version} is served {store.acknowledged} ticks after the end was acknowledged",
            )
        newer = (version > request.floor or request.floor == NONE) and self.rules.floor_after_reads
        if self.rules.absent_floor_is_zero and request.floor == NONE:
            newer = self.rules.floor_after_reads and version > 0
        plants = SHORT if newer else NOTHING
        if world.snapshot_life and stored and request.who == "b" and not (newer or request.strong):
            request = request._replace(carries=version, carries_age=0)
        confirms = newer and self.rules.confirm_reads and (self.rules.confirm_local or not local)
        if world.cache and (confirms or claim):
            served = Request(
                HAS_READ,
                request.who,
                0,
                request.instance,
                wrote=request.wrote,
                saw=request.saw,
                version=version,
                claim=claim,
                plants=plants,
                carries=request.carries,
                carries_age=request.carries_age,
            )
            return self._put_back(state, place, served)
        return self._answer(state, place, request, version, plants)
