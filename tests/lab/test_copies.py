"""Holdfast's strategies with copies: how they are built, what they tell, and that they keep every promise."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import httpx
import pytest
from longer_trials import longer_trials
from sample_trials import a_trial

from holdfast import Keyring, Sessions
from holdfast.lab.checker import Verdict, check
from holdfast.lab.instance import application
from holdfast.lab.report import Settings, broken, reading_help, who_answered
from holdfast.lab.strategies import COPY_AGE_SECONDS, SNAPSHOT_SECONDS, Strategy, strategies
from holdfast.lab.trial import summary

# Shoppers who read a lot.
BROWSING = {"users": 16, "min_instances": 2, "max_instances": 3, "browse": True}

NOTHING_BROKEN = Verdict(
    dict.fromkeys(
        (
            "sessions",
            "sessions_lost",
            "updates_lost",
            "stale_reads",
            "revived",
            "crossed",
            "false_acks",
            "uncertain",
        ),
        0,
    ),
    [],
)


def test_without_being_asked_no_strategy_has_copies(tmp_path: Path) -> None:
    """The rows of the default demo need no server, and the store answers everything."""
    assert not any(strategy.copies or strategy.kind == "aside" for strategy in strategies([], tmp_path))


def test_copies_in_the_instances_need_no_server(tmp_path: Path) -> None:
    """Four rows as without, then cache-aside, Holdfast with local copies, snapshots and tokens, on a file each."""
    added = strategies([], tmp_path, copies=True)[4:]
    assert [strategy.name for strategy in added] == [
        "cache-aside in memory",
        "holdfast: store + local",
        "holdfast: local with affinity",
        "holdfast: store + snapshot",
        "holdfast: token, no store",
        "holdfast: token over store",
    ]
    assert [strategy.affinity for strategy in added] == [False, False, True, False, False, False]
    assert [strategy.local for strategy in added] == [False, True, True, False, False, False]
    assert [strategy.snapshot for strategy in added] == [False, False, False, True, False, False]
    assert all(strategy.cache is None for strategy in added)
    assert len({strategy.store for strategy in added}) == 6
    assert added[-2].store is None


def test_a_cache_adds_its_strategies_and_hides_its_password(tmp_path: Path) -> None:
    """The cache's rows come after those with copies in the instances."""
    url = "redis://ada:hunter2@cache:6379/0"
    added = strategies([], tmp_path, cache=url)[10:]
    assert [strategy.name for strategy in added] == [
        "cache-aside in redis",
        "holdfast: store + cache",
        "holdfast: store + cache + local",
    ]
    assert [strategy.local for strategy in added] == [False, False, True]
    assert {strategy.cache for strategy in added} == {url}
    assert len({strategy.name for strategy in strategies([], tmp_path, cache=url)}) == 13


@pytest.mark.parametrize(
    ("local", "cache", "nearest"),
    [(True, False, "local"), (False, True, "cache"), (True, True, "local"), (False, False, None)],
)
async def test_an_instance_tells_which_home_has_answered(
    tmp_path: Path,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
    local: bool,
    cache: bool,
    nearest: str | None,
) -> None:
    """Pinned reads are the store's; a later one fills the copies, and the next comes from the nearest.

    Without copies, nothing is told.
    """
    now = time.time()
    monkeypatch.setattr("holdfast.Sessions", partial(Sessions, clock=lambda: now))
    monkeypatch.setenv("HOLDFAST_KEYS", Keyring.new_secret())
    strategy = Strategy(
        "h", "holdfast", store=f"sqlite:///{tmp_path}/s.db", cache=redis_url if cache else None, local=local
    )
    app = application("i1", strategy, {})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://shop") as browser:
        answers = [await browser.post("/visit"), await browser.get("/read")]
        now += COPY_AGE_SECONDS + 1.5
        if local or cache:
            browser.cookies.delete("__Host-session-pin")
        answers += [await browser.get("/read"), await browser.get("/read")]
    told = [answer.headers.get("holdfast-explain") for answer in answers]
    homes = [text.partition(";")[0] if text else None for text in told]
    assert [*homes[:2], homes[-1]] == ([None] * 3 if nearest is None else ["none", "store", nearest])


def test_the_row_counts_the_homes() -> None:
    """Of requests that had a session; and only where there are copies."""
    events = [
        {"kind": "request", "outcome": "ok", "status": 200, "ms": 1.0, **home}
        for home in ({"home": "local"}, {"home": "local"}, {"home": "store"}, {"home": "none"}, {})
    ]
    row = summary(Strategy("h", "holdfast", local=True), events, NOTHING_BROKEN)
    assert row["homes"] == {"local": 2, "snapshot": 0, "cache": 0, "store": 1}
    assert "homes" not in summary(Strategy("h", "holdfast"), events, NOTHING_BROKEN)


def test_the_report_tells_which_home_has_answered() -> None:
    """In words, for rows that have copies; homes that never answered are left out."""
    found = a_trial(Strategy("h", "holdfast", local=True), 1, 4.0, {})
    found.row["homes"] = {"local": 3, "cache": 0, "store": 1}
    assert who_answered(found.row) == "local 75 %, store 25 %"
    assert "h: read from local 75 %, store 25 %." in [str(line) for line in reading_help([found])]
    assert who_answered({"homes": dict.fromkeys(("local", "store"), 0)}) == ""
    assert who_answered({}) == ""


def test_the_command_repeats_a_run_with_copies() -> None:
    """Copies and cache are in the command, the cache's password is not."""
    settings = Settings(20, 60, 1, 6, 7, copies=True, cache="redis://ada:hunter2@cache/0")
    assert settings.command().endswith(" --copies --cache 'redis://…@cache/0'")
    assert settings.browse
    assert not Settings(20, 60, 1, 6, 7).browse


@pytest.mark.parametrize("shared", [pytest.param(False, marks=pytest.mark.proof), True])
async def test_a_trial_with_copies(tmp_path: Path, redis_url: str, shared: bool) -> None:
    """Copies answer browsers that browse, and no promise is broken, while instances are killed."""
    strategy = Strategy(
        "copies",
        "holdfast",
        store=f"sqlite:///{tmp_path}/s.db",
        cache=redis_url if shared else None,
        local=True,
    )
    async for outcome in longer_trials(strategy, 6.0, **BROWSING):
        row = outcome.row
        assert outcome.violations == []
        assert row["late_ends"] <= check(outcome.events).counts["revived"]
        assert shared or row["homes"]["cache"] == 0
        if row["instances_killed"] >= 3 and row["homes"]["local"] and (row["homes"]["cache"] or not shared):
            break


async def test_an_instance_answers_from_what_the_browser_carries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the pin, the store plants a snapshot, and another instance, which has never been asked, reads from it."""
    now = time.time()
    monkeypatch.setattr("holdfast.Sessions", partial(Sessions, clock=lambda: now))
    monkeypatch.setenv("HOLDFAST_KEYS", Keyring.new_secret())
    strategy = Strategy("h", "holdfast", store=f"sqlite:///{tmp_path}/s.db", snapshot=True)
    told = []
    async with httpx.AsyncClient(base_url="https://shop") as browser:
        for path in ("/visit", "/read", "/read", "/read"):
            application_now = httpx.ASGITransport(application("i", strategy, {}))
            async with httpx.AsyncClient(transport=application_now, base_url="https://shop") as one:
                one.cookies = browser.cookies
                answer = await (one.post(path) if path == "/visit" else one.get(path))
                browser.cookies = one.cookies
            told.append(answer.headers["holdfast-explain"].partition(";")[0])
            if len(told) == 2:
                now += SNAPSHOT_SECONDS + 2.5
                browser.cookies.delete("__Host-session-pin")
    assert told == ["none", "store", "store", "snapshot"]


async def test_a_trial_with_snapshots(tmp_path: Path) -> None:
    """Browsers carry copies to instances that come and go; an end arrives in time, and no promise is broken."""
    strategy = Strategy("snapshots", "holdfast", store=f"sqlite:///{tmp_path}/s.db", snapshot=True)
    async for outcome in longer_trials(strategy, 6.0, **BROWSING):
        assert outcome.violations == []
        assert outcome.row["late_ends"] <= check(outcome.events).counts["revived"]
        if outcome.row["instances_killed"] >= 3 and outcome.row["homes"]["snapshot"] > 0:
            break


async def test_snapshots_that_are_believed_are_caught(tmp_path: Path) -> None:
    """Floor and pin taken out of the instances: browsers see their sessions go backwards."""
    strategy = Strategy(
        "credulous", "holdfast", store=f"sqlite:///{tmp_path}/s.db", snapshot=True, fault="credulous"
    )
    async for outcome in longer_trials(strategy, 4.0, **BROWSING):
        if outcome.row["stale_reads"] >= 10:
            break


@pytest.mark.parametrize("over_store", [False, True])
async def test_what_tokens_lose_is_shown_and_no_more(tmp_path: Path, over_store: bool) -> None:
    """Two tabs lose updates, as is said of them; over a store that is noticed, and whoever has signed out stays out.

    What nobody says of them is a broken promise like any other, and there is none.
    """
    store = f"sqlite:///{tmp_path}/s.db" if over_store else None
    strategy = Strategy("tokens", "token", store=store, detect_loss=over_store)
    async for outcome in longer_trials(strategy, 5.0, users=24, min_instances=1, max_instances=3):
        row = outcome.row
        assert row["holdfast"]
        assert broken(row) == 0, outcome.violations
        assert not over_store or bool(row["losses_noticed"]) >= bool(row["updates_lost"])
        if row["updates_lost"] >= 5:
            break
    told = [str(line) for line in reading_help([outcome])]
    assert any(line.startswith("tokens: ") and "one loses its change" in line for line in told)
    assert any("noticed that" in line for line in told) == over_store
    assert not any("ept every promise" in line or "Broke promises" in line for line in told)
