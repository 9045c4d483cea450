"""The way to a Redis Cluster: which server has which key, and where it has gone.

redis-py's own cluster clients are not asked to send anything: they send a command again whose answer was lost,
and their asyncio client belongs to one loop. What is taken from them is the hash of keys and the errors that
say where to go.
"""

from __future__ import annotations

import random
import time
from typing import Any

import redis
from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, MovedError, TryAgainError

from .. import _colour
from ._redis_nodes import LOST, Address, Nodes
from ._redis_url import Settings, ends_at
from ._redis_wire import Command

SLOTS = 16384
_PAUSE_SECONDS = 0.02

# While a map is asked for, no server that does not answer holds that up for longer.
_MAP_SECONDS = 0.5

Shard = tuple[Address, ...]  # the primary, then its replicas


class Cluster:
    """The way to all the servers of a cluster, like `Wire` to one.

    A command goes to the server that has its key. It is sent again only where Redis has said that it did nothing.
    """

    def __init__(self, settings: Settings, colours: frozenset[str] = frozenset({"sync", "async"})) -> None:
        self.colours = colours
        self.timeout = settings.timeout
        self._settings = settings
        self._nodes = Nodes(settings, replica=[((b"READONLY",), _is_accepted)])
        self._map: list[Shard | None] = [None] * SLOTS
        self._known: list[Address] = []
        self._is_stale = True

    async def ask(self, *commands: Command) -> list[Any]:
        """The answers of the servers that have the keys, or the first error that is not about where they are.

        More than one command may be given only if each may be done twice.
        """
        with self._nodes.one_call():
            await self._look()
            if len(commands) == 1:
                return [await self._ask(commands[0])]
            answers: dict[int, Any] = {}
            parties: dict[Shard | None, list[int]] = {}
            for number, command in enumerate(commands):
                parties.setdefault(self._map[slot_of(command)], []).append(number)
            for shard, numbers in parties.items():
                group = [commands[number] for number in numbers]
                try:
                    if shard is None:
                        raise ClusterDownError("a slot that nobody has")
                    answers.update(zip(numbers, await self._send(shard[0], *group), strict=True))
                except (AskError, TryAgainError, ClusterDownError):
                    answers.update({number: await self._ask(commands[number]) for number in numbers})
            return [answers[number] for number in range(len(commands))]

    async def ask_weak(self, *commands: Command) -> list[Any]:
        """The same of one command that only reads, from a replica of the shard if one answers."""
        with self._nodes.one_call():
            await self._look()
            shard = self._map[slot_of(commands[0])]
            answers = None if shard is None else await self._nodes.ask_replica(shard[1:], *commands)
            return await self.ask(*commands) if answers is None else answers

    async def ask_slots(self, first: int, last: int, command: bytes, *rest: bytes) -> list[Any]:
        """The answers of every primary to `command`, the number of the slot and the rest, for each slot of a range.

        A slot that is on its way is on two of them. The one that it leaves is asked first: what is not there any more
        has arrived.
        """
        with self._nodes.one_call():
            await self._look()
            own: dict[Address, list[Command]] = {place: [] for place in self._primaries()}
            others: dict[Address, list[Command]] = {place: [] for place in own}
            for slot in range(first, last):
                shard = self._map[slot]
                if shard is None:
                    raise ClusterDownError(f"slot {slot} has no server")
                for place in own:
                    group = own if place == shard[0] else others
                    group[place].append((*command.split(), b"%d" % slot, *rest))
            parties = [(place, group[place]) for group in (own, others) for place in group if group[place]]
            return [answer for place, asked in parties for answer in await self._send(place, *asked)]

    async def ask_each(self, *commands: Command) -> dict[str, list[Any]]:
        """What each primary answers, by its address."""
        with self._nodes.one_call():
            await self._look(anew=True)
            places = self._primaries()
            return {f"{host}:{port}": await self._send((host, port), *commands) for host, port in places}

    async def look(self) -> int:
        """Ask for the map anew; how many slots have a server."""
        with self._nodes.one_call():
            await self._look(anew=True)
        return sum(shard is not None for shard in self._map)

    def node_of(self, name: bytes) -> object:
        """What tells the server of this key from others, as far as the map is known."""
        shard = self._map[int(key_slot(name))]
        return shard and shard[0]

    async def aclose(self) -> None:
        """Close the connections, as `Wire.aclose` does."""
        await self._nodes.aclose()

    def close(self) -> None:
        """Close the connections, as `Wire.close` does."""
        self._nodes.close()

    async def _ask(self, command: Command) -> Any:
        slot = slot_of(command)
        while True:
            shard = self._map[slot]
            try:
                if shard is None:
                    raise ClusterDownError(f"slot {slot} has no server")
                (answer,) = await self._send(shard[0], command)
                return answer
            except MovedError as error:
                place = _place(error, shard)
                self._map[slot] = (place,)
                self._is_stale = True
            except AskError as error:
                try:
                    _, answer = await self._send(_place(error, shard), (b"ASKING",), command)
                    return answer
                except TryAgainError:
                    await self._wait()
            except TryAgainError:
                # Not because of a second key, for there is none: Redis from 8 on says so while it drops a slot's keys.
                await self._wait()
            except ClusterDownError:
                # Nobody can do it at the moment, and it was not done.
                await self._wait()
                await self._look(anew=True)

    async def _send(self, place: Address, *commands: Command) -> list[Any]:
        try:
            return await self._nodes.to(place).ask(*commands)
        except (*LOST, redis.ReadOnlyError):
            self._is_stale = True  # the next call asks who has taken over
            raise

    async def _wait(self) -> None:
        """Pause; at the end of the call's time raise what was the matter."""
        end = ends_at.get()
        if end is not None and time.monotonic() + _PAUSE_SECONDS >= end:
            raise redis.TimeoutError("the cluster has not said in time who does this")
        await _colour.pause(_PAUSE_SECONDS)

    async def _look(self, *, anew: bool = False) -> None:
        """Ask for the map, if it is not known to be good."""
        if not (self._is_stale or anew):
            return
        failure: BaseException = redis.ConnectionError("no server of the cluster answers")
        known = random.sample(self._known, len(self._known))
        whole = ends_at.get()
        for place in dict.fromkeys((*known, *self._settings.hosts)):
            mark = ends_at.set(_earlier(whole, time.monotonic() + _MAP_SECONDS))
            try:
                (shards,) = await self._nodes.to(place).ask((b"CLUSTER", b"SLOTS"))
            except (redis.RedisError, OSError) as error:
                failure = error
                continue
            finally:
                ends_at.reset(mark)
            if shards:
                self._take(shards, place)
                await self._nodes.keep((*self._known, *self._settings.hosts))
                return
        if not self._known:
            raise failure

    def _primaries(self) -> list[Address]:
        return sorted({shard[0] for shard in self._map if shard is not None})

    def _take(self, shards: Any, asked: Address) -> None:
        fresh: list[Shard | None] = [None] * SLOTS
        for first, last, *servers in shards:
            # A server that does not know its own name is the one that was asked.
            shard = tuple(((host or b"").decode() or asked[0], int(port)) for host, port, *_ in servers)
            fresh[first : last + 1] = [shard] * (last - first + 1)
        self._map = fresh
        self._known = list(dict.fromkeys(place for shard in fresh if shard is not None for place in shard))
        self._is_stale = False


def slot_of(command: Command) -> int:
    """The slot of the key in a command, which is its third argument in a script's."""
    return int(key_slot(command[3] if command[0] in (b"EVALSHA", b"EVAL") else command[1]))


def _place(error: AskError, shard: Shard | None) -> Address:
    return str(error.host) or (shard[0][0] if shard else "localhost"), int(error.port)


def _earlier(one: float | None, other: float) -> float:
    return other if one is None else min(one, other)


def _is_accepted(answer: Any) -> None:
    if answer != b"OK":
        raise redis.ConnectionError("the replica does not take READONLY")
