"""What every step of the model stands on: time, and the parts of a state that steps change."""

from __future__ import annotations

from typing import TypeVar

from copies_state import (
    ANSWERED,
    CLAIM,
    COMMITTED,
    COPY_AGE,
    ENTRY,
    HAS_READ,
    NONE,
    PROMISES,
    TOMBSTONE,
    Broken,
    Browser,
    Cache,
    Instance,
    Request,
    State,
    Store,
    with_instance,
)
from copies_world import Rules, World

Holder = TypeVar("Holder", Browser, Request)


class Ground:
    """Rules, a world, and how they bear on the parts of a state."""

    def __init__(self, rules: Rules, world: World, promises: frozenset[str] = PROMISES) -> None:
        self.rules, self.world, self.promises = rules, world, promises
        self.pin = world.oldest if rules.pin_outlives_snapshots else world.copy_age
        self.pin += 0 if rules.pin_is_short else 1
        self.long = world.cache_life + self.pin
        self.puts_age = rules.put_into_empty or rules.put_life == "from read"
        # No age above this one makes a difference.
        has_copies = world.local or world.cache or world.snapshot_life
        self.oldest = max(world.lag or 0, world.longest_life if has_copies else 0) + 1

    def _answer(self, state: State, place: int, request: Request, version: int, plants: int) -> State:
        if request.who == "x":
            return self._remove(state, place)
        answer = Request(
            ANSWERED,
            "b",
            request.writes,
            request.instance,
            wrote=request.wrote,
            saw=request.saw,
            version=version,
            plants=plants,
            carries=request.carries,
            carries_age=request.carries_age,
        )
        return self._put_back(state, place, answer)

    def _keep_local(self, state: State, at: int, version: int) -> State:
        instance = state.instances[at]
        if not self.world.local or version < instance.version:
            return state
        return with_instance(state, at, instance._replace(version=version, age=0))

    def _check_age(self, state: State, version: int) -> None:
        store = state.store
        if version < store.version and store.ages[version] > self.world.longest_life:
            self._break(COPY_AGE, f"version {version} was superseded {store.ages[version]} ticks ago")

    def _add(self, state: State, request: Request) -> State:
        return state._replace(requests=(*state.requests, request))

    def _put_back(self, state: State, place: int, request: Request) -> State:
        requests = state.requests
        return state._replace(requests=(*requests[:place], request, *requests[place + 1 :]))

    def _remove(self, state: State, place: int) -> State:
        return state._replace(requests=state.requests[:place] + state.requests[place + 1 :])

    def _break(self, promise: str, text: str) -> None:
        if promise in self.promises:
            raise Broken(promise, text)

    # Time

    def _tick(self, state: State) -> State:
        world, browser, store, cache = self.world, state.browser, state.store, state.cache
        oldest = self.oldest
        browser = browser._replace(pin=max(0, browser.pin - 1), long_pin=max(0, browser.long_pin - 1))
        browser = self._older_snapshot(browser)
        instances = tuple(self._older(instance) for instance in state.instances)
        store = Store(
            store.version,
            tuple(min(age + 1, oldest) for age in store.ages),
            store.ended if store.ended == NONE else min(store.ended + 1, oldest),
            store.acknowledged
            if store.acknowledged == NONE
            else min(store.acknowledged + 1, world.feed_age + 1),
            store.feed,
        )
        if cache.kind in (ENTRY, TOMBSTONE):
            cache = cache._replace(life=cache.life - 1) if cache.life > 1 else Cache()
        requests = tuple(
            request._replace(since=min(request.since + 1, world.cache_life))
            if request.claim or (self.puts_age and request.phase in (HAS_READ, COMMITTED))
            else request
            for request in state.requests
        )
        if world.snapshot_life:
            counts = self.rules.snapshot_age_from_read
            requests = tuple(
                request if request.phase == ANSWERED and not counts else self._older_snapshot(request)
                for request in requests
            )
        return state._replace(
            browser=browser, instances=instances, store=store, cache=cache, requests=requests
        )

    def _older(self, instance: Instance) -> Instance:
        view_age = min(instance.view_age + 1, self.world.feed_age + 1) if self.world.ends else 0
        if instance.version == NONE or instance.age >= self.world.copy_age:
            return Instance(NONE, 0, view_age, instance.knows)
        return Instance(instance.version, instance.age + 1, view_age, instance.knows)

    def _older_snapshot(self, holder: Holder) -> Holder:
        """The browser, or a request, with its snapshot a tick older; without it, if that is too old now."""
        if holder.carries == NONE:
            return holder
        if holder.carries_age >= self.world.snapshot_life:
            return holder._replace(carries=NONE, carries_age=0)
        return holder._replace(carries_age=holder.carries_age + 1)

    # States that are the same

    def canonical(self, state: State) -> State:
        """One state for all that differ only in the order of requests, or in the names of two instances."""
        requests = state.requests
        if self.rules.claims and self.world.cache and state.cache.kind != CLAIM:
            requests = tuple(
                r._replace(claim=0, since=r.since if self.puts_age else 0) if r.claim else r for r in requests
            )
        state = state._replace(requests=tuple(sorted(requests)))
        if self.world.instances == 2:
            swapped = tuple(sorted(request._replace(instance=1 - request.instance) for request in requests))
            state = min(state, state._replace(instances=state.instances[::-1], requests=swapped))
        return state
