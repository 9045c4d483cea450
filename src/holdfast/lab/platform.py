"""A local serverless platform: real processes as instances, scaled by load and disturbed on purpose.

    async with Platform(strategy, min_instances=1, max_instances=6, seed=7, emit=history.emit) as platform:
        ...                                # browsers work on platform.url
        await platform.churn(20.0)         # twenty seconds of births and deaths

It is a laboratory instrument for one machine, and no production server.
"""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Callable, Coroutine, Mapping
from types import TracebackType
from typing import Any

from ..errors import HoldfastError
from .churn import inject, schedule
from .door import FrontDoor
from .process import Instance, instance_environ
from .strategies import Strategy

TARGET_IN_FLIGHT = 5.0  # requests per instance; more of them start another instance
TICK = 0.2  # seconds between two looks at the load
SMOOTHING = 0.3  # how much of the newest look goes into the load that decides
IDLE_FOR = 2.0  # seconds of too little load until an instance is scaled in
STARTING_AT_ONCE = 2  # a cold start is mostly CPU; more at a time would only make each slower
LEAVING = 0.05  # seconds between the last routed request and SIGTERM: what was routed shall have arrived
GRACE = 10.0  # seconds that a terminated instance has until it is killed
FAREWELL = 3.0  # the same when the whole platform ends


class InstanceFailed(HoldfastError):
    """An instance ended by itself. The text shows what it wrote."""


class Platform:
    """The instances of one strategy and the front door to them, as an async context manager.

    Entering waits until `min_instances` serve; leaving ends and reaps every process, whatever the reason.
    The load decides how many instances there are, those on their way out included; one missing below
    `min_instances` is replaced at once.
    Each birth, death and disturbance goes to `emit` as {"kind": "instance", "instance", "what", "in_flight"},
    where `what` is start, ready, freeze, thaw, terminate, kill or exit; an exit also has "warnings", how often
    the instance has logged a warning of each kind. `environ` is added to the environment
    of the instances; without `HOLDFAST_KEYS` in it they share a fresh key.

    An instance that ends by itself is an `InstanceFailed`, raised once: when entering, in `churn`, or when
    leaving. It is not replaced, and no other is from then on.
    """

    def __init__(
        self,
        strategy: Strategy,
        *,
        min_instances: int,
        max_instances: int,
        seed: int,
        emit: Callable[[dict[str, Any]], None],
        environ: Mapping[str, str] | None = None,
    ) -> None:
        if not 1 <= min_instances <= max_instances:
            raise ValueError(f"needs 1 <= min <= max instances, not {min_instances} and {max_instances}")
        self._strategy = strategy
        self._min = min_instances
        self._max = max_instances
        self._seed = seed
        self._emit = emit
        self._environ = instance_environ({"HOLDFAST_KEYS": secrets.token_urlsafe(32), **(environ or {})})
        self._door = FrontDoor(self._routable, affinity=strategy.affinity, seed=seed)
        self._instances: list[Instance] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._scaler: asyncio.Task[None] | None = None
        self._started = 0
        self._calm = False
        self._closing = False
        self._changed = asyncio.Event()
        self._failed = asyncio.Event()
        self._failure: Exception | None = None

    @property
    def url(self) -> str:
        """The front door's address, without a slash at the end."""
        return self._door.url

    @property
    def pids(self) -> list[int]:
        """The process ids of the instances that are there now."""
        return [instance.pid for instance in self._instances]

    async def churn(self, seconds: float) -> None:
        """Disturb the instances for that long, by the seed's schedule. Then the platform stays up and calm.

        Calm means: nobody is frozen, killed, terminated or scaled any more.
        """
        self._calm = False
        injecting = asyncio.ensure_future(inject(self, schedule(seconds, self._seed), seconds))
        failing = asyncio.ensure_future(self._failed.wait())
        try:
            await asyncio.wait({injecting, failing}, return_when=asyncio.FIRST_COMPLETED)
            self._raise_failure()
            injecting.result()
        finally:
            self._calm = True
            injecting.cancel()
            failing.cancel()
            await asyncio.gather(injecting, failing, return_exceptions=True)

    async def __aenter__(self) -> Platform:
        try:
            await self._door.open()
            self._fill()
            while len(self.ready()) < self._min:
                self._raise_failure()
                self._changed.clear()
                await self._changed.wait()
            self._scaler = self._spawn_task(self._scale())
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()
        if error is None:
            self._raise_failure()

    # What a churn may do to instances.

    def ready(self) -> list[Instance]:
        """The instances that serve and have not been told to go, oldest first."""
        return [instance for instance in self._routable() if instance.ready]

    def kill(self, instance: Instance) -> None:
        """SIGKILL, now."""
        self._tell(instance, "kill")
        instance.kill()

    def freeze(self, instance: Instance) -> None:
        """SIGSTOP. The front door does not know, and goes on sending it requests, which hang."""
        self._tell(instance, "freeze")
        instance.freeze()

    def thaw(self, instance: Instance) -> None:
        """SIGCONT, if it is still there."""
        if instance in self._instances and not instance.killed:
            instance.thaw()
            self._tell(instance, "thaw")

    def terminate(self, instance: Instance) -> None:
        """Take it out of the routing, then SIGTERM; if it does not finish in time, SIGKILL."""
        instance.draining = True
        self._tell(instance, "terminate")
        self._fill()
        self._spawn_task(self._terminate(instance))

    # Births, deaths and scaling.

    def _routable(self) -> list[Instance]:
        return [instance for instance in self._instances if not (instance.draining or instance.killed)]

    def _fill(self) -> None:
        while len(self._routable()) < self._min and not (self._closing or self._failed.is_set()):
            self._start()

    def _start(self) -> None:
        self._started += 1
        instance = Instance.start(f"i{self._started}", self._strategy, self._environ)
        self._instances.append(instance)
        self._tell(instance, "start")
        self._spawn_task(self._watch(instance))

    async def _watch(self, instance: Instance) -> None:
        if await instance.serving():
            self._tell(instance, "ready")
        await instance.ended()
        self._instances.remove(instance)
        self._tell(instance, "exit", warnings=instance.warnings)
        if not (instance.killed or instance.draining):
            raise InstanceFailed(
                f"instance {instance.name} of {self._strategy.name!r} ended by itself"
                f" (exit status {instance.exit_status}): {instance.output or 'it wrote nothing'}"
            )
        self._fill()

    async def _terminate(self, instance: Instance) -> None:
        await asyncio.sleep(LEAVING)
        if instance in self._instances:
            instance.terminate()
            await asyncio.sleep(GRACE)
        if instance in self._instances:
            self.kill(instance)

    async def _scale(self) -> None:
        load = 0.0
        idle = 0.0
        while True:
            await asyncio.sleep(TICK)
            running = self._routable()
            load += SMOOTHING * (sum(instance.in_flight for instance in running) - load)
            wanted = min(max(math.ceil(load / TARGET_IN_FLIGHT), self._min), self._max)
            idle = idle + TICK if wanted < len(running) else 0.0
            if self._calm:
                continue
            starting = sum(not instance.ready for instance in running)
            room = self._max - len(self._instances)
            for _ in range(min(wanted - len(running), STARTING_AT_ONCE - starting, room)):
                self._start()
            resting = [instance for instance in self.ready() if not instance.frozen]
            if idle >= IDLE_FOR and resting:
                idle = 0.0
                self.terminate(min(resting, key=lambda instance: instance.in_flight))

    def _tell(self, instance: Instance, what: str, **more: object) -> None:
        self._changed.set()
        event = {"kind": "instance", "instance": instance.name, "what": what, "in_flight": instance.in_flight}
        self._emit({**event, **more})

    # Failures and the way out.

    def _spawn_task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception) and not self._failed.is_set():
            self._failure = error
            self._failed.set()
            self._changed.set()

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    async def _close(self) -> None:
        self._closing = True
        if self._scaler is not None:
            self._scaler.cancel()
        try:
            await self._door.close()
            for instance in list(self._instances):
                if instance.frozen:
                    instance.thaw()
                if not instance.draining:
                    self._tell(instance, "terminate")
                instance.terminate()
            async with asyncio.timeout(FAREWELL):
                while self._instances:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            pass  # those that did not go in time are destroyed below
        finally:
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            for instance in self._instances:
                instance.destroy()
                self._tell(instance, "exit", warnings={})
            self._instances.clear()
            await asyncio.gather(*tasks, return_exceptions=True)
