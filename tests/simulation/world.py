"""Runs a plan: instances of the real code, browsers, and mishaps, and writes down all that happened."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

from holdfast import Keyring, Sessions
from holdfast.asgi import SessionMiddleware

from .application import application
from .backends import WIRE, Backends, CacheClient, StoreClient, Written
from .browser import FLOOR, IDENTITY, PINS, Jar, key_in
from .plan import DEVICE, Plan, Step
from .request import Request, short
from .surroundings import simulated
from .virtual import Process, VirtualLoop

EPOCH = 1_750_000_000.0
KEYS = Keyring(["the keys of a simulation are no secret 0123456789"])


class Instance(Process):
    """One instance: a `Sessions` of its own, with its own clock and its own local copies."""

    def __init__(self, world: World, number: int) -> None:
        super().__init__()
        plan = world.plan
        self.number = number
        self.world = world
        self.waiting: list[asyncio.Future[Any]] = []
        self.sessions = Sessions(
            StoreClient(world.backends, number),
            keys=KEYS,
            idle=plan.idle,
            clock=lambda: EPOCH + world.loop.time() + plan.skews[number],
            cache=CacheClient(world.backends, number) if plan.cache else None,
            local="1MB" if plan.local else None,
            copy_age=plan.copy_age,
            weak=plan.weak,
            detect_loss=True,
            snapshot=plan.snapshot or None,
            private={"shared"} if plan.private else (),
            revoke_within=plan.revoke_within,
            on_event=world.on_event,
        )
        self.app = SessionMiddleware(application, self.sessions)


class World:
    """One run of a plan. `run` fills `requests`, `written`, `revoked` and `events`, for the judge."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.loop = VirtualLoop()
        self.requests: list[Request] = []
        self._notes: list[tuple[float, object]] = []
        self.events: list[tuple[float, Any]] = []
        self.revoked: list[tuple[float, str]] = []  # when the administrator's call returned, and the key
        self.rolled_back: list[float] = []
        self.replica_paused = False
        self._rng = Random(plan.seed ^ 0x5EED)
        self.backends = Backends(self.loop, self._rng, max_lag=plan.max_lag, failing=0.0)
        self._jars = {0: Jar(), 1: Jar()}
        self._floors: dict[str, int] = {}
        self._stolen: bytes | None = None

    @property
    def trace(self) -> list[str]:
        """What happened, for a person."""
        return [f"{at:8.3f}  {what}" for at, what in self._notes]

    @property
    def written(self) -> list[Written]:
        """What the store did, in order."""
        return self.backends.truth.written

    @property
    def store_troubles(self) -> list[tuple[float, float]]:
        """When the store could not be expected to answer."""
        return self.backends.to_store.troubles

    def run(self) -> None:
        """Run the plan to its end."""
        with simulated(self.loop, self._rng):
            self.instances = [Instance(self, number) for number in range(self.plan.instances)]
            self.loop.run(self._run())
        if self.loop.errors:
            raise RuntimeError(f"{self.plan}: {self.loop.errors[0]}") from self.loop.errors[0].get(
                "exception"
            )

    def on_event(self, event: Any) -> None:
        """The hook of all instances."""
        self.events.append((self.loop.time(), event))

    async def _run(self) -> None:
        await self._ask(Step(0, "put", 0.0), 0)
        self.backends.losing.checkpoint()
        self.backends.flaky.rate = self.plan.failing
        await asyncio.gather(*(self._track(track) for track in self.plan.tracks))

    async def _track(self, track: tuple[Step, ...]) -> None:
        device = int(bool(track) and track[0].track == DEVICE)
        for number, step in enumerate(track):
            await asyncio.sleep(max(step.since - self.loop.time(), 0.0) + step.gap)
            if step.track not in range(DEVICE + 1):
                await self._befall(step)
                continue
            if device and number == 0:
                self._copy_identity()
            await self._ask(step, device)

    def _copy_identity(self) -> None:
        token = self._jars[0].get(IDENTITY, self.loop.time())
        if token is not None:
            self._jars[1].plant(IDENTITY, token, self.loop.time())

    # Requests

    async def _ask(self, step: Step, device: int) -> None:
        """Send a request and wait until its response is delivered, or will never be."""
        now, jar = self.loop.time(), self._jars[device]
        request = Request(len(self.requests), step, now, device)
        self.requests.append(request)
        header = jar.header(now)
        if step.kind == "replay":
            header, request.device = self._stolen, -1
        elif header is not None and device == 0:
            parts = header.decode().split("; ")
            self._stolen = "; ".join(part for part in parts if part.split("=")[0] not in PINS).encode()
        carried = dict(part.split("=", 1) for part in header.decode().split("; ")) if header else {}
        request.key = key_in(carried[IDENTITY]) if IDENTITY in carried else None
        request.floor_of = self._floors.get(carried.get(FLOOR, ""))
        request.pinned = not carried.keys().isdisjoint(PINS)
        over = self.loop.create_future()
        scope = {
            "type": "http",
            "headers": [(b"cookie", header)] if header else [],
            "visit": request.visit,
            **({"holdfast.freshness": "strong"} if step.strong else {}),
        }
        self.loop.call_later(step.up, self._arrive, request, scope, over, context=WIRE.copy())
        self._note(f"{request.step} asked as #{request.number}")
        await over
        self._note(request)

    def _arrive(self, request: Request, scope: dict[str, Any], over: asyncio.Future[Any]) -> None:
        instance = self.instances[request.step.instance]
        instance.waiting.append(over)
        self.loop.create_task(self._serve(instance, request, scope, over), context=instance.context())

    async def _serve(
        self, instance: Instance, request: Request, scope: dict[str, Any], over: asyncio.Future[Any]
    ) -> None:
        messages: list[Any] = []

        async def send(message: Any) -> None:
            messages.append(message)

        await instance.app(scope, _nothing, send)
        request.status, headers = messages[0]["status"], messages[0]["headers"]
        request.left = self.loop.time()
        record = scope["session"]._record
        request.version = record.version if record else request.visit.version
        self.loop.call_later(request.step.down, self._deliver, request, headers, over, context=WIRE.copy())

    def _deliver(self, request: Request, headers: Any, over: asyncio.Future[Any]) -> None:
        now = self.loop.time()
        if not request.step.lost and not over.done():
            request.delivered = now
            if request.device >= 0:
                jar = self._jars[request.device]
                request.jar_before = jar.key(now)
                taken = jar.receive(headers, now)
                request.jar_after = jar.key(now)
                if IDENTITY in taken:
                    request.planted = request.jar_after
                if FLOOR in taken:
                    self._floors[jar.get(FLOOR, now) or ""] = request.number
        if not over.done():
            over.set_result(None)

    # Mishaps

    async def _befall(self, step: Step) -> None:
        now, instance = self.loop.time(), self.instances[step.instance % len(self.instances)]
        self._note(f"mishap: {step}")
        match step.kind:
            case "kill":
                instance.is_dead = True
                self.instances[step.instance] = Instance(self, step.instance)
                for waiting in instance.waiting:
                    if not waiting.done():
                        waiting.set_result(None)
            case "freeze" | "suspend":
                instance.frozen_until = now + step.seconds
                self.store_troubles.append((now, now + step.seconds + 3.0))
                if step.kind == "suspend":
                    instance.time_stood_still += step.seconds
            case "cut store":
                self.backends.to_store.disturb(step.seconds, step.instance)
            case "slow store":
                self.backends.to_store.disturb(step.seconds, None)
            case "cut cache":
                self.backends.to_cache.disturb(step.seconds, step.instance)
            case "slow cache":
                self.backends.to_cache.disturb(step.seconds, None)
            case "flush cache":
                self.backends.cache._places.clear()
            case "pause replica":
                self.backends.replica.pause()
                self.replica_paused = True
                self.loop.call_later(step.seconds, self.backends.replica.resume)
            case "lose floor":
                self._jars[0].lose([FLOOR])
            case "lose floor and pin":
                self._jars[0].lose([FLOOR, *PINS])
            case "revoke":
                await self._revoke(instance)
            case "lose answer":
                # `instance` calls of the store go well; the next has its effect, and its answer is lost.
                self.backends.flaky.schedule = [*["ok"] * step.instance, "after"]
                self.store_troubles.append((now, now + 10.0))
            case "checkpoint":
                self.backends.losing.checkpoint()
            case "roll back":
                self.backends.losing.roll_back()
                self.rolled_back.append(now)

    async def _revoke(self, instance: Instance) -> None:
        key = self._jars[0].key(self.loop.time())
        if key is None:
            return
        over = self.loop.create_future()
        instance.waiting.append(over)

        async def end() -> None:
            try:
                await instance.sessions.end(key)
                self.revoked.append((self.loop.time(), key))
                self._note(f"{short(key)} is revoked")
            except Exception as error:
                self._note(f"{short(key)} was not revoked: {error!r}")
            if not over.done():
                over.set_result(None)

        self.loop.create_task(end(), context=instance.context())
        await over

    def _note(self, what: object) -> None:
        self._notes.append((self.loop.time(), what))


async def _nothing() -> Any:
    return {"type": "http.request", "body": b"", "more_body": False}
