"""What follows a commit, and a read that saw something newer: the shared cache is told. And how a session ends."""

from __future__ import annotations

from collections.abc import Iterator

from copies_ground import Ground
from copies_state import (
    ANSWERED,
    CLAIM,
    COMMITTED,
    EMPTY,
    ENDED,
    ENTRY,
    INSTANCES,
    LONG,
    MONOTONIC_WRITES,
    NO_REVIVAL,
    NONE,
    SHORT,
    TOMBSTONE,
    Cache,
    Request,
    State,
    Step,
    with_instance,
)


class Writes(Ground):
    """The steps of a commit, of telling the cache, and of an end."""

    def _commit(self, state: State, request: Request, wrote: int, **left: int) -> Iterator[Step]:
        """A write begins and the store commits it. What it must see is judged here: it is the newest."""
        who = "the browser" if request.who == "b" else "another device"
        store = state.store
        if store.ended != NONE:
            if not self.rules.tombstones:
                self._break(NO_REVIVAL, f"{who} writes with the old identity, finds nothing, and begins anew")
            return
        if store.version >= self.world.writes:
            return
        version = store.version + 1
        if version <= wrote:
            self._break(MONOTONIC_WRITES, f"version {version} after {wrote}")
        state = state._replace(store=store._replace(version=version, ages=(*store.ages, 0)), **left)
        if self.world.commits_fill:
            state = self._keep_local(state, request.instance, version)
        phase = COMMITTED if self.world.cache else ANSWERED
        request = request._replace(phase=phase, version=version, plants=SHORT)
        text = f"{who} starts a write on instance {INSTANCES[request.instance]}: the store commits version {version}"
        if phase == ANSWERED and request.who == "x":
            yield text, state
        else:
            yield text, self._add(state, request)

    def _tell_cache(self, state: State, place: int, request: Request) -> Iterator[Step]:
        """A commit, or a read that saw something newer than the floor, or one that holds a claim."""
        verb = "write" if request.writes else "read"
        name = f"the {verb} of version {request.version} on {INSTANCES[request.instance]}"
        if self.world.cache_fails:
            plants = LONG if request.plants and self.rules.long_pin else request.plants
            after = self._told(state, place, request, plants)
            yield f"{name} fails to tell the cache", after
        filled = self._filled(state, request)
        if filled is not None:
            after = self._told(state._replace(cache=filled), place, request, request.plants)
            yield f"{name} refills the cache", after
        elif request.plants or request.writes:
            cache, text = self._put(state.cache, request.version, request.since)
            after = self._told(state._replace(cache=cache), place, request, request.plants)
            yield f"{name} {text}", after
        else:
            yield (
                f"{name} lost its claim and refills nothing",
                self._told(state, place, request, request.plants),
            )

    def _filled(self, state: State, request: Request) -> Cache | None:
        if not request.claim:
            return None
        cache = state.cache
        life = self.world.cache_life - (request.since if self.rules.age_from_read else 0)
        if self.rules.claims:
            if cache.kind != CLAIM:
                return None
        elif cache.kind == TOMBSTONE or (cache.kind == ENTRY and cache.version >= request.version):
            return None
        return Cache(ENTRY, request.version, life) if life > 0 else Cache()

    def _put(self, cache: Cache, version: int, since: int) -> tuple[Cache, str]:
        rules = self.rules
        lives = {
            "kept": cache.life,
            "from read": self.world.cache_life - since,
            "full": self.world.cache_life,
        }
        life = lives[rules.put_life]
        if cache.kind in (EMPTY, CLAIM):
            if not rules.put_into_empty:
                return Cache(), "finds nothing older in the cache"
            life = self.world.cache_life - since if rules.put_life == "kept" else life
            text = "puts it into the empty place of the cache"
        elif rules.put_guard and (cache.kind == TOMBSTONE or cache.version >= version):
            return cache, "finds the cache at least as new"
        else:
            text = "replaces the cache's entry"
        return Cache(ENTRY, version, life) if life > 0 else Cache(), text

    def _told(self, state: State, place: int, request: Request, plants: int) -> State:
        return self._answer(state, place, request, request.version, plants)

    # Ends

    def _end(self, state: State, place: int, request: Request) -> Iterator[Step]:
        """The feed has been told."""
        at = request.instance
        state = state._replace(store=state.store._replace(ended=0))
        state = with_instance(state, at, state.instances[at]._replace(version=NONE, age=0))
        yield "the store has the tombstone", self._put_back(state, place, request._replace(phase=ENDED))

    def _end_in_cache(self, state: State, place: int, request: Request) -> Iterator[Step]:
        told = self._remove(state._replace(store=state.store._replace(acknowledged=0)), place)
        if not self.world.cache:
            yield "the end is acknowledged", told
            return
        if self.world.cache_fails:
            yield "the end fails to tell the cache, and is acknowledged", told
        kept = state.cache
        cache = Cache(TOMBSTONE, 0, kept.life) if kept.kind in (ENTRY, TOMBSTONE) else Cache()
        yield "the end puts a tombstone into the cache, and is acknowledged", told._replace(cache=cache)
