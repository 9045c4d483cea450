"""What the real code asks the operating system for is asked of the simulation instead."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import holdfast.copies.cache
import holdfast.copies.local

from .virtual import Process, VirtualLoop


@contextmanager
def simulated(loop: VirtualLoop, rng: Random) -> Iterator[None]:
    """Time and chance are the simulation's."""

    def monotonic() -> float:
        process = Process.current()
        return loop.time() - (process.time_stood_still if process else 0.0)

    replaced = [
        (os, "urandom", rng.randbytes),
        (holdfast.copies.local, "monotonic", monotonic),
        (holdfast.copies.cache, "Random", lambda: Random(rng.random())),
    ]
    originals = [getattr(module, name) for module, name, _ in replaced]
    state = random.getstate()
    random.seed(rng.random())
    try:
        for module, name, value in replaced:
            setattr(module, name, value)
        yield
    finally:
        for (module, name, _), original in zip(replaced, originals, strict=True):
            setattr(module, name, original)
        random.setstate(state)
