"""One body of code for sync and async callers (design §5).

Everything that may do I/O is written once, as coroutines. A sync caller drives them by hand (`run`):
over a blocking client they never suspend. An async caller awaits them over an async client, or sends the
whole operation to one worker thread (`off_loop`) where only a blocking client exists.

asyncio is imported where it is used: whoever awaits has loaded it already, and nobody else pays for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")

_driven_by_hand: ContextVar[bool] = ContextVar("holdfast_driven_by_hand", default=False)


def by_hand() -> bool:
    """Whether the running coroutine is driven by hand, so that it must use a blocking client."""
    return _driven_by_hand.get()


def run(operation: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, here and now, and return its result.

    Raises RuntimeError if it suspends, which only an async-only client can make it do.
    """
    mark = _driven_by_hand.set(True)
    try:
        operation.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # StopIteration does not carry T
    finally:
        _driven_by_hand.reset(mark)
    operation.close()
    raise RuntimeError("this store only has an async client: await the operation instead of calling it")


async def off_loop(operation: Coroutine[Any, Any, T]) -> T:
    """Run the whole of a blocking operation in one worker thread: one hop, however many commands it takes."""
    import asyncio

    return await asyncio.to_thread(run, operation)


async def pause(seconds: float) -> None:
    """Wait, in the colour of the caller."""
    if by_hand():
        time.sleep(seconds)  # noqa: ASYNC251 - driven by hand: there is no loop to hold up
    else:
        import asyncio

        await asyncio.sleep(seconds)


class PerLoop(Generic[T]):
    """One async client for each running event loop.

    An async client belongs to the loop that made it: platforms that run every invocation on a fresh loop
    break one that is kept longer. `make` builds a client for the running loop; `drop` lets go of one whose
    loop is closed, without awaiting.
    """

    def __init__(self, make: Callable[[], T], drop: Callable[[T], None]) -> None:
        self._make = make
        self._drop = drop
        self._clients: dict[asyncio.AbstractEventLoop, T] = {}

    def get(self) -> T:
        """The running loop's client. Raises RuntimeError if no loop runs."""
        import asyncio

        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            # Loops in other threads come and go in the meantime.
            for other in list(self._clients):
                if other.is_closed() and (dead := self._clients.pop(other, None)) is not None:
                    self._drop(dead)
            client = self._clients[loop] = self._make()
        return client

    def is_in_use(self) -> bool:
        """Whether any loop that is not closed has a client."""
        return any(not loop.is_closed() for loop in list(self._clients))

    def pop(self) -> T | None:
        """Forget the running loop's client and return it, for its owner to close."""
        import asyncio

        return self._clients.pop(asyncio.get_running_loop(), None)
