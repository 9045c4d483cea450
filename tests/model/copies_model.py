"""The model of the copies: one browser, its session's homes, and every step that one of them can take.

`Model.steps` yields each step that a state allows, as a text and the state after it; a step that breaks a promise
raises `Broken`.
"""

from __future__ import annotations

from collections.abc import Iterator

from copies_reads import Reads
from copies_state import (
    ANSWERED,
    COMMITTED,
    EMPTY,
    ENDED,
    ENDING,
    ENTRY,
    HAS_READ,
    INSTANCES,
    LONG,
    MONOTONIC_READS,
    NONE,
    PAST_COPIES,
    READ_YOUR_WRITES,
    STARTED,
    Browser,
    Cache,
    Instance,
    Request,
    State,
    Step,
    Store,
    with_instance,
)
from copies_writes import Writes


class Model(Reads, Writes):
    """The steps that are possible under some rules in some world."""

    def initial(self) -> list[State]:
        world = self.world
        cold = State(
            Browser(0, 0, 0, 0, 0),
            (Instance(),) * world.instances,
            Store(0, (), NONE, NONE, 0),
            Cache(),
            (),
            world.requests,
            world.external,
            world.visits,
            int(world.ends),
        )
        states = [cold] if world.cold else []
        if world.warm:
            copy = Instance(0) if world.local else Instance()
            cache = Cache(ENTRY, 0, world.cache_life) if world.cache else Cache()
            browser = cold.browser._replace(carries=0) if world.snapshot_life else cold.browser
            states.append(cold._replace(browser=browser, instances=(copy,) * world.instances, cache=cache))
        return list(dict.fromkeys(states))

    def beginning(self, state: State) -> str:
        """An initial state in words."""
        local, carried = state.instances[0].version, state.browser.carries
        copies = state.cache.kind == ENTRY or local != NONE or carried != NONE
        homes = "copies of version 0 are everywhere" if copies else "there are no copies"
        return f"the browser has floor 0 and no pin; {homes}"

    def steps(self, state: State) -> Iterator[Step]:
        yield from self._start(state)
        for place, request in enumerate(state.requests):
            yield from _PHASES[request.phase](self, state, place, request)
        yield from self._faults(state)
        yield "a tick goes by", self._tick(state)

    def _start(self, state: State) -> Iterator[Step]:
        world, browser = self.world, state.browser
        under_way = any(request.who == "b" for request in state.requests)
        may_start = state.starts and not (world.in_order and under_way)
        for at in range(world.instances):
            if may_start:
                strong = self.rules.pin and (browser.pin > 0 or browser.long_pin > 0)
                strong = strong or (browser.floor == NONE and not self.rules.absent_floor_is_zero)
                read = Request(
                    STARTED, "b", 0, at, browser.floor, int(strong), wrote=browser.wrote, saw=browser.saw
                )
                if not strong:
                    read = read._replace(carries=browser.carries, carries_age=browser.carries_age)
                cookies = "no floor" if browser.floor == NONE else f"floor {browser.floor}"
                cookies += ", pin" if browser.pin or browser.long_pin else ""
                after = self._add(state, read)._replace(starts=state.starts - 1)
                yield f"the browser starts a read on instance {INSTANCES[at]} ({cookies})", after
                yield from self._commit(
                    state, Request(COMMITTED, "b", 1, at), browser.wrote, starts=state.starts - 1
                )
            if state.externals:
                left = state.externals - 1
                yield from self._commit(state, Request(COMMITTED, "x", 1, at), 0, externals=left)
            if state.visits:
                # Another device has cookies of its own; nothing is gained by a floor above the oldest.
                after = self._add(state, Request(STARTED, "x", 0, at))._replace(visits=state.visits - 1)
                yield f"another device starts a read on instance {INSTANCES[at]} (floor 0)", after
            if state.ends and state.store.ended == NONE:
                told = state._replace(ends=0, store=state.store._replace(feed=int(self.rules.feed)))
                text = f"an administrator ends the session on instance {INSTANCES[at]}"
                text += ": the feed is told" if self.rules.feed else ""
                yield text, self._add(told, Request(ENDING, "x", 1, at))

    def _deliver(self, state: State, place: int, request: Request) -> Iterator[Step]:
        version, browser = request.version, state.browser
        name = f"the answer of the {'write' if request.writes else 'read'} of version {version}"
        if self.world.loses_answers:
            yield f"{name} is lost", self._remove(state, place)
        if not request.writes:
            if version < request.wrote:
                self._break(
                    READ_YOUR_WRITES, f"a read sees version {version} after a write of {request.wrote}"
                )
            if version < request.saw:
                self._break(MONOTONIC_READS, f"a read sees version {version} after one of {request.saw}")
        wrote = max(browser.wrote, version) if request.writes else browser.wrote
        browser = browser._replace(wrote=wrote, saw=max(browser.saw, version))
        planted = ""
        if request.plants:
            pin, long_pin = browser.pin, browser.long_pin
            if self.rules.one_pin:
                pin, long_pin = (self.long if request.plants == LONG else self.pin), 0
            elif request.plants == LONG:
                long_pin = self.long
            else:
                pin = self.pin
            browser = browser._replace(floor=version, pin=pin, long_pin=long_pin)
            planted = f" with floor {version} and a {'long ' if request.plants == LONG else ''}pin"
            if not self.rules.pin:
                browser, planted = browser._replace(pin=0, long_pin=0), f" with floor {version}"
        if request.carries != NONE:
            browser = browser._replace(carries=request.carries, carries_age=request.carries_age)
            planted += f" with a snapshot of version {request.carries}"
        yield f"{name} arrives{planted}", self._remove(state._replace(browser=browser), place)

    def _faults(self, state: State) -> Iterator[Step]:
        world, browser = self.world, state.browser
        if world.evicts and state.cache.kind != EMPTY:
            yield "the cache evicts what it has", state._replace(cache=Cache())
        knows = browser.wrote or browser.saw or browser.carries != NONE
        if world.loses_cookies and browser.floor != NONE and knows:
            yield "the browser loses its floor", state._replace(browser=browser._replace(floor=NONE))
            if not browser.long_pin:
                gone = browser._replace(floor=NONE, pin=0)
                yield "the browser loses floor and pin", state._replace(browser=gone)
        if world.loses_pin_alone and browser.pin:
            yield "the browser loses its pin alone", state._replace(browser=browser._replace(pin=0))
        if world.kills:
            for at, instance in enumerate(state.instances):
                left = tuple(
                    request
                    for request in state.requests
                    if request.instance != at or request.phase == ANSWERED
                )
                if len(left) != len(state.requests):
                    after = with_instance(state, at, instance._replace(version=NONE, age=0))
                    yield f"instance {INSTANCES[at]} is killed", after._replace(requests=left)


_PHASES = {
    STARTED: Model._look,
    PAST_COPIES: Model._past_copies,
    HAS_READ: Model._tell_cache,
    COMMITTED: Model._tell_cache,
    ANSWERED: Model._deliver,
    ENDING: Model._end,
    ENDED: Model._end_in_cache,
}
