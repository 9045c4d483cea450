"""Who meets whom over one session."""

from __future__ import annotations

import itertools

from .world import Actor, Scenario

ACTORS: dict[str, Actor] = {
    "mover": lambda world: world.move(),
    "prepare-writes": lambda world: world.write("prepare", "p"),
    "move-writes": lambda world: world.write("move", "m"),
    "prepare-counts": lambda world: world.count("prepare"),
    "move-counts": lambda world: world.count("move"),
    "reader": lambda world: world.read("prepare", "move", "prepare"),
    "move-reads": lambda world: world.read("move"),
    "prepare-ends": lambda world: world.end("prepare"),
    "move-ends": lambda world: world.end("move"),
    "prepare-rotates": lambda world: world.rotate("prepare"),
    "move-rotates": lambda world: world.rotate("move"),
}


def _together(*names: str) -> Scenario:
    return Scenario("+".join(names), tuple(ACTORS[name] for name in names))


PAIRS = [_together(*pair) for pair in itertools.combinations(ACTORS, 2)]

CROWDS = [
    *(_together("mover", *pair) for pair in itertools.combinations(list(ACTORS)[1:], 2)),
    _together("mover", "move-writes", "prepare-writes", "reader", "prepare-ends"),
    _together("mover", "mover", "move-writes", "prepare-counts", "reader"),
]

# Somebody who makes the new store forget the session sooner than the old one, while others are half way, or late.
FORGETTING = [
    Scenario(
        f"{name}+rotates-and-dies+forgetting+reader",
        (mover, lambda world: world.seal_only(), lambda world: world.forget(), ACTORS["move-reads"]),
        forgetful=True,
    )
    for name, mover in {
        "mover": ACTORS["mover"],
        "mover-that-dies": lambda world: world.bring_only(),
        "reader-that-sleeps": ACTORS["move-writes"],
    }.items()
]
