"""Trials as the lab could have found them, made up from a seed: tests of the report need no lab."""

from __future__ import annotations

import random
from typing import Any

from holdfast.lab.checker import Violation
from holdfast.lab.report import PROMISES
from holdfast.lab.strategies import Strategy
from holdfast.lab.trial import Trial


def four_trials(seed: int = 7, seconds: float = 20.0) -> list[Trial]:
    """What a default demo looks like: three ways that break promises, and Holdfast."""
    counts = {
        ("memory", "memory", False): {"sessions_lost": 171, "updates_lost": 1220, "stale_reads": 1411},
        ("memory + affinity", "memory", True): {"sessions_lost": 57, "updates_lost": 190, "stale_reads": 31},
        ("signed cookie", "signed", False): {"updates_lost": 712, "stale_reads": 410, "revived": 58},
        ("holdfast (sqlite)", "holdfast", False): {},
    }
    return [
        a_trial(Strategy(name, kind, affinity), seed, seconds, broken)
        for (name, kind, affinity), broken in counts.items()
    ]


def a_trial(strategy: Strategy, seed: int, seconds: float, broken: dict[str, int]) -> Trial:
    """One trial whose checker found `broken`, a count by promise."""
    rng = random.Random(f"{seed} {strategy.name}")
    events = list(_instances(random.Random(seed), seconds))
    kills = [event["t"] for event in events if event["what"] == "kill"]
    events += _requests(rng, seconds, kills)
    violations = [
        Violation(
            rng.choice(kills) + rng.expovariate(0.8),
            kind,
            rng.randrange(60),
            f"browser 1, session 2: the visit at 3.210 s showed {n} visits, not {n + 3}",
        )
        for kind, count in broken.items()
        for n in range(count)
    ]
    requests = [event for event in events if event["kind"] == "request"]
    row = {
        "name": strategy.name,
        "holdfast": strategy.holdfast,
        "requests": len(requests),
        "errors": sum(event["outcome"] != "ok" for event in requests),
        "instances_started": sum(event.get("what") == "start" for event in events),
        "instances_killed": len(kills),
        "sessions": 214,
        **{promise.key: broken.get(promise.key, 0) for promise in PROMISES},
        "p50_ms": 68.2,
        "p99_ms": 512.4,
        "refused": 0,
        "uncertain": 3,
    }
    return Trial(strategy, row, sorted(events, key=_time), sorted(violations), seconds)


def _time(event: dict[str, Any]) -> float:
    return float(event["t"] if "t" in event else event["t1"])


def _instances(rng: random.Random, seconds: float) -> list[dict[str, Any]]:
    events, born = [], 0

    def tell(t: float, what: str, in_flight: int = 0) -> None:
        event = {"kind": "instance", "t": t, "instance": f"i{born}", "what": what, "in_flight": in_flight}
        events.append(event)

    for slot in range(5):
        now = slot * 0.9
        while now < seconds + 2:
            born += 1
            life = rng.uniform(1.5, 7.0)
            tell(now, "start")
            tell(now + 0.6, "ready")
            if rng.random() < 0.5:
                tell(now + 0.9, "freeze")
                tell(now + 0.9 + rng.uniform(0.2, 0.5), "thaw")
            now += life
            if now > seconds:
                break
            if rng.random() < 0.75:
                tell(now, "kill", rng.randrange(1, 7))
                tell(now + 0.02, "exit")
            else:
                tell(now - 0.2, "terminate", 2)
                tell(now, "exit")
            now += 0.15
    return events


def _requests(rng: random.Random, seconds: float, kills: list[float]) -> list[dict[str, Any]]:
    events = []
    for number in range(4000):
        begin = rng.uniform(0.5, seconds)
        took = rng.lognormvariate(-2.7, 0.55) if number % 300 else rng.uniform(0.4, 2.5)
        cut = any(begin < kill < begin + took for kill in kills) and rng.random() < 0.2
        events.append(
            {
                "kind": "request",
                "t0": begin,
                "t1": begin + took,
                "ms": 1000 * took,
                "browser": number % 60,
                "tab": number % 2,
                "session": 1,
                "op": "visit",
                "outcome": "network" if cut else "ok",
                "status": None if cut else 200,
                "instance": None if cut else "i1",
                "user": None,
                "values": None if cut else {"visits": 3},
            }
        )
    return events
