"""The way from the rules to a store: here its errors are wrapped, once."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from ..errors import ConfigError, HoldfastError, StoreError, StoreThrottled, StoreUnavailable
from ..record import Change, Record
from . import Owned, Part, Provisions, Store, Sweeps

T = TypeVar("T")


class Guard:
    """A store whose errors are Holdfast's.

    It sets no time limit: every store has its own, by contract, and one around it would cost a tenth of a call to Redis
    (asyncio.timeout: 8 µs), and leave clients behind that were cancelled in the middle of an answer.
    """

    def __init__(self, store: Store) -> None:
        for method in ("create", "load", "commit", "end"):
            if not callable(getattr(store, method, None)):
                raise ConfigError(f"{type(store).__name__} is no store: it has no method {method}()")
        self.store = store
        self.name = type(store).__name__
        self.max_bytes: int | None = getattr(store, "max_bytes", None)
        self.writes_per_second: float | None = getattr(store, "writes_per_second", None)
        self.colours: frozenset[str] = getattr(store, "colours", frozenset({"sync", "async"}))
        self._unavailable: tuple[type[BaseException], ...] = (
            OSError,
            TimeoutError,
            *getattr(store, "unavailable", ()),
        )
        self._throttled: tuple[type[BaseException], ...] = tuple(getattr(store, "throttled", ()))

    async def create(self, key: str, record: Record) -> bool:
        return await self._call(self.store.create(key, record))

    async def load(self, key: str, *, weak: bool = False) -> Record | None:
        return await self._call(self.store.load(key, weak=True) if weak else self.store.load(key))

    async def commit(self, key: str, change: Change) -> Record:
        return await self._call(self.store.commit(key, change))

    async def end(self, key: str, tombstone: Record) -> None:
        await self._call(self.store.end(key, tombstone))

    async def of(self, owner: str) -> dict[str, Record]:
        if not isinstance(self.store, Owned):
            raise ConfigError(f"{self.name} cannot list the sessions of an owner")
        return await self._call(self.store.of(owner))

    async def sweep(self, now: float) -> int:
        return await self._call(self.store.sweep(now)) if isinstance(self.store, Sweeps) else 0

    async def provision(self, *, create: bool) -> list[Part]:
        """See `Provisions`; nothing, where the store needs nothing."""
        return (
            await self._call(self.store.provision(create=create))
            if isinstance(self.store, Provisions)
            else []
        )

    async def aclose(self) -> None:
        if (close := getattr(self.store, "aclose", None)) is not None:
            await close()

    async def _call(self, call: Coroutine[Any, Any, T]) -> T:
        try:
            return await call
        except HoldfastError:
            raise
        except self._throttled as error:
            raise StoreThrottled(f"{self.name} asks to slow down: {type(error).__name__}") from error
        except self._unavailable as error:
            raise StoreUnavailable(f"{self.name} is not available: {type(error).__name__}") from error
        except Exception as error:
            # Whatever it is, nothing is known about the change: the caller must not be told that it is kept.
            raise StoreError(f"{self.name} failed: {type(error).__name__}") from error
