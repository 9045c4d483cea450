"""What happens in one schedule: drawn from a seed, readable, and shrinkable step by step."""

from __future__ import annotations

from random import Random
from typing import NamedTuple


class Step(NamedTuple):
    """One request of a track, or one mishap.

    It begins `gap` seconds after the one before it in its track has ended, but not before the second `since`.
    """

    track: int
    kind: str
    gap: float
    since: float = 0.0
    instance: int = 0
    think: float = 0.0
    up: float = 0.0  # how long the request travels, and how long the response
    down: float = 0.0
    lost: bool = False  # the response never arrives
    strong: bool = False
    seconds: float = 0.0  # how long a mishap lasts

    def __str__(self) -> str:
        extra = [name for name in ("lost", "strong") if getattr(self, name)]
        if self.seconds:
            extra.append(f"for {self.seconds:.2f} s")
        return " ".join([f"{self.kind} i{self.instance}", *extra])


class Plan(NamedTuple):
    """One schedule. Tracks 0 to `tabs` - 1 are the tabs of the browser, track 8 is another device of its user's,
    track 9 holds the mishaps."""

    seed: int
    instances: int
    skews: tuple[float, ...]  # of the instances' wall clocks, seconds
    local: bool
    cache: bool
    weak: bool
    copy_age: float
    idle: float
    max_lag: float
    failing: float  # the share of the store's calls that fail
    loses: bool  # the store may lose what it has acknowledged
    tracks: tuple[tuple[Step, ...], ...]
    snapshot: float = 0.0  # how old what a browser carries may be; 0: it carries nothing
    revoke_within: float = 1.0
    private: bool = False  # what tabs share stays on the server

    @property
    def oldest(self) -> float:
        """How old a copy may be that nobody brings up to date: clocks differ by a second."""
        return max(self.copy_age, self.snapshot + 1.0 if self.snapshot else 0.0)

    @property
    def ends_within(self) -> float:
        """In how many seconds an ending arrives."""
        return self.revoke_within if self.snapshot else min(1.0, self.copy_age / 2)

    def __str__(self) -> str:
        homes = [name for name in ("local", "cache", "weak", "snapshot", "private") if getattr(self, name)]
        requests = sum(len(track) for track in self.tracks)
        return (
            f"seed {self.seed}: {self.instances} instances, copies: {' '.join(homes) or 'none'}, "
            f"copy_age {self.copy_age} s, idle {self.idle:g} s, lag up to {self.max_lag:.1f} s, "
            f"{self.failing:.0%} of calls fail, {requests} steps"
        )


DEVICE, MISHAPS = 8, 9


def draw(seed: int) -> Plan:
    """The plan of a seed. In every third, the browser carries snapshots, in half of those it has no other copies."""
    rng = Random(seed)
    if seed % 3 != 2:
        return _draw(seed, rng, rng.choice((1.0, 2.0, 5.0)), looks_first=False)
    copy_age = rng.choice((1.0, 2.0))
    life = rng.choice((1.0, 2.0, 4.0))
    plan = _draw(seed, rng, max(copy_age, life + 1.0), looks_first=True)._replace(
        copy_age=copy_age,
        snapshot=life,
        revoke_within=rng.choice((0.5, 1.0, 2.0, life + 1.0, life + 2.0)),
        private=rng.random() < 0.4,
    )
    return plan if rng.random() < 0.5 else plan._replace(local=False, cache=False, weak=False)


def _draw(seed: int, rng: Random, copy_age: float, *, looks_first: bool) -> Plan:
    instances = rng.choice((1, 2, 2, 3, 3, 4))
    local, cache, weak = rng.choice(
        ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 1, 0), (1, 0, 1), (0, 1, 1), (1, 1, 1), (1, 1, 1))
    )
    tabs = rng.choice((1, 2, 2, 3))
    loses = rng.random() < 0.1
    # A replica further behind than copies may be is only safe where no responses overtake each other.
    max_lag = rng.choice((0.3, copy_age, copy_age)) if tabs > 1 else rng.choice((0.3, copy_age, 30.0))
    rounds = _rounds(rng, copy_age)
    if looks_first:
        # Only what is read in peace is carried.
        rounds = [each for later in rounds for each in (later._replace(mood="quiet"), later)]
    tracks = [_requests(rng, track, rounds, copy_age, instances) for track in range(tabs)]
    if rng.random() < 0.5:
        tracks.append(_requests(rng, DEVICE, rounds, copy_age, instances))
    kinds = _MISHAPS if tabs > 1 else (*_MISHAPS, "pause replica")
    mishaps = [_mishap(rng, copy_age, instances, kinds) for _ in range(rng.choice((0, 1, 2, 3, 4)))]
    if loses:
        where = rng.randrange(len(mishaps) + 1)
        mishaps.insert(where, Step(MISHAPS, "checkpoint", rng.uniform(0, copy_age)))
        mishaps.insert(where + 1, Step(MISHAPS, "roll back", rng.uniform(0, copy_age)))
    tracks.append(tuple(mishaps))
    return Plan(
        seed=seed,
        instances=instances,
        skews=tuple(rng.uniform(-0.5, 0.5) for _ in range(instances)),
        local=bool(local),
        cache=bool(cache),
        weak=bool(weak),
        copy_age=copy_age,
        idle=rng.choice((1800.0, 1800.0, 1800.0, 6.0)),
        max_lag=max_lag,
        failing=rng.choice((0.0, 0.0, 0.0, 0.03)),
        loses=loses,
        tracks=tuple(tracks),
    )


_MOODS = {
    "quiet": ("read",),
    "calm": ("read",) * 8 + ("put",),
    "burst": ("put", "share", "count", "read"),
    "busy": ("read",) * 5 + ("put", "put", "share", "count", "count"),
    "eventful": ("read",) * 4 + ("put", "count", "login", "login", "rotate", "logout", "replay"),
    "after": ("read",) * 3 + ("replay",),
}


class _Round(NamedTuple):
    """A time in which all tabs do something of one kind; before it, all may be silent until pins have died."""

    begins: float
    mood: str
    slow: float  # how long a response may take


def _rounds(rng: Random, copy_age: float) -> list[_Round]:
    rounds, begins = [], 0.0
    for mood in ("calm", *rng.choices(tuple(_MOODS), (6, 3, 2, 4, 2, 1), k=rng.choice((2, 3, 4, 5)))):
        slow = rng.choice((0.02, 0.3, 0.3, 2.0, copy_age + 1.5))
        rounds.append(_Round(begins, mood, slow))
        pause = rng.choice((0.3, copy_age / 2, copy_age, copy_age + 1, copy_age + 1, copy_age + 1))
        begins += pause * rng.uniform(1.0, 1.3) + rng.choice((0.0, slow))
    return rounds


def _requests(
    rng: Random, track: int, rounds: list[_Round], copy_age: float, instances: int
) -> tuple[Step, ...]:
    return tuple(
        Step(
            track,
            rng.choice(_MOODS[each.mood]),
            rng.choice((0.02, 0.02, 0.5, copy_age) if each.mood != "burst" else (0.0, 0.02)) * rng.random(),
            since=each.begins,
            instance=rng.randrange(instances),
            think=rng.choice((0.0, 0.005, 0.05, 0.4)) * rng.random(),
            up=rng.uniform(0, 0.02) if rng.random() < 0.8 else rng.uniform(0, 0.5),
            down=rng.uniform(0, 0.02) if rng.random() < 0.6 else rng.uniform(0, each.slow),
            lost=rng.random() < 0.07,
            strong=rng.random() < 0.05,
        )
        for each in rounds
        for _ in range(rng.choice((0, 1, 1, 2, 3)))
    )


_MISHAPS = (
    "kill", "kill", "freeze", "freeze", "suspend", "cut store", "slow store", "cut cache", "cut cache",
    "slow cache", "flush cache", "lose floor", "lose floor and pin", "lose floor and pin", "revoke",
)  # fmt: skip


def _mishap(rng: Random, copy_age: float, instances: int, kinds: tuple[str, ...]) -> Step:
    return Step(
        MISHAPS,
        rng.choice(kinds),
        rng.choice((rng.uniform(0, 0.3), rng.uniform(0, 3 * copy_age + 1))),
        instance=rng.randrange(instances),
        seconds=rng.choice((0.1, 0.5, 2.0, copy_age + 1.5)) * rng.uniform(0.5, 1.0),
    )
