"""What the server holds for a session that travels is lost by no two tabs, no sign-in, no failure and no time."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from token_site import Act, Site, counting, overlapping, regressions, setting

from holdfast import Change, Keyring, Record, Session, SessionGone, Sessions
from holdfast.testing import FakeClock
from holdfast.tokens import Token
from holdfast.writes import ROTATED
from recording import RecordingStore

HOLDING: dict[str, Callable[[Any], Token]] = {
    "spill": lambda store: Token(private={"p*"}, spill=store),
    "both": lambda store: Token(private={"p*"}, spill=store, revocation=store),
}


class TestHeld:
    """What is held is merged, altered anew, and lost by nobody."""

    @pytest.mark.parametrize("kind", ["memory", "sqlite", "redis"])
    async def test_five_alterations_at_once(
        self, kind: str, tmp_path: Path, request: pytest.FixtureRequest
    ) -> None:
        """Each of five was told that it is kept, and each is: failed attempts are counted like this."""
        store: Any = RecordingStore()
        if kind != "memory":
            store = f"sqlite:///{tmp_path}/s.db" if kind == "sqlite" else request.getfixturevalue("redis_url")
        site = Site(Token(private={"p*"}, spill=store))
        site.clock.now = time.time()
        tab = site.tab()
        await tab.put(p=0, n=0)
        await overlapping(tab, *[counting("p")] * 5)
        assert await tab.see() == {"p": 5, "n": 0}
        for sessions in site.instances:
            await sessions.aclose()

    @pytest.mark.parametrize("token", HOLDING.values(), ids=HOLDING)
    async def test_both_tabs_values(self, token: Any) -> None:
        """Set, removed and altered ones, whichever token the browser keeps."""
        site = Site(token(RecordingStore()))
        tab = site.tab()
        await tab.put(p_a=0, p_b=0, p_n=0, n=0)

        def first(session: Session) -> None:
            session["p_a"] = 1
            session["p_new"] = "first"
            counting("p_n")(session)

        def second(session: Session) -> None:
            del session["p_b"]
            session["p_other"] = "second"
            counting("p_n")(session)

        await overlapping(tab, first, second)
        assert await tab.see() == {"p_a": 1, "p_new": "first", "p_other": "second", "p_n": 2, "n": 0}

    async def test_the_first_value_that_is_held(self) -> None:
        """Neither request has read a record, for nothing was held: both values are, and both counts."""
        site = Site(Token(private={"p*"}, spill=RecordingStore()))
        tab = site.tab()
        await tab.put(n=0)

        def act(name: str) -> Act:
            return lambda session: (session.update({name: 1}), counting("p_n")(session))

        await overlapping(tab, act("p_a"), act("p_b"), act("p_c"))
        assert await tab.see() == {"n": 0, "p_a": 1, "p_b": 1, "p_c": 1, "p_n": 3}

    async def test_what_spills_in_one_tab_and_counts_in_the_other(self) -> None:
        """An altered value that another tab has left on the server is altered as it is there."""
        site = Site(Token(max_bytes=1_000, spill=RecordingStore()))
        tab = site.tab()
        await tab.put(log="x" * 10, count=0)

        other = tab.beside()
        other.jar = dict(tab.jar)

        async def act(session: Session) -> None:
            session.alter("log", lambda log: log + "z")
            await other.do(lambda session: session.alter("log", lambda log: log + "y" * 2_000))

        await tab.do(act)
        assert (await tab.see())["log"] == "x" * 10 + "y" * 2_000 + "z"

    async def test_a_token_that_is_behind_shows_what_is_held(self) -> None:
        """Also a value that travelled when that token was made, and has spilled since: it is newer on the server."""
        tab = Site(Token(private={"p"}, max_bytes=1_000, spill=RecordingStore())).tab()
        await tab.put(p=1, log="x")
        late = tab.beside()
        late.jar = dict(tab.jar)
        await tab.put(log="x" * 2_000)
        assert await late.see() == {"p": 1, "log": "x" * 2_000}
        await late.do(lambda session: session.alter("log", lambda log: log + "z"))
        assert await late.see() == {"p": 1, "log": "x" * 2_000 + "z"}

    async def test_sync_callers(self) -> None:
        """The same, one line after the other."""
        sessions = Sessions(
            token=Token(private={"p"}, spill=RecordingStore()),
            keys=Keyring.generate(),
            clock=FakeClock(1.8e9),
        )
        first = sessions.open(None)
        first["p"] = 0
        sessions.sync.commit(first)
        cookie = dict(first._outgoing())[b"set-cookie"].partition(b";")[0]
        tabs = [sessions.open(cookie) for _ in range(5)]
        for tab in tabs:
            sessions.sync.load(tab)
            counting("p")(tab)
        for tab in tabs:
            sessions.sync.commit(tab)
        last = sessions.open(dict(tabs[2]._outgoing())[b"set-cookie"].partition(b";")[0])
        sessions.sync.load(last)
        assert last["p"] == 5


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("noted", [False, True])
def test_whatever_tabs_do_at_once(seed: int, noted: bool) -> None:
    """Up to four overlapping requests at a time, signing in and rotating among them: what was answered is there."""
    rng, store = random.Random(seed), RecordingStore()
    token = Token(private={"p*"}, spill=store, revocation=store if noted else None, max_bytes=2_000)
    clock = FakeClock(1.8e9)
    sessions = Sessions(token=token, keys=Keyring.generate(), clock=clock)
    steps: list[Callable[[Session], object]] = [
        lambda session: session.login("ann"),
        lambda session: session.rotate(),
        lambda session: session.update({f"p{rng.random()}": 1}),
        lambda session: session.update(big="x" * rng.choice((10, 3_000))),
        lambda session: session.update(n=rng.random()),
    ]
    jar: bytes | None = None
    acknowledged, names = 0, set[str]()
    for _ in range(30):
        tabs = [sessions.open(jar) for _ in range(rng.choice((1, 2, 3, 4)))]
        for tab in tabs:
            sessions.sync.load(tab)
            rng.choice(steps)(tab)
            tab.alter("p", lambda n: n + 1, default=0)
        rng.shuffle(tabs)
        for tab in tabs:
            mine = {name for name in tab if name.startswith("p0")}
            try:
                sessions.sync.commit(tab)
            except SessionGone:
                continue
            acknowledged += 1
            names |= mine
            jar = dict(tab._outgoing())[b"set-cookie"].partition(b";")[0]
            if acknowledged == 1:
                break  # before that there is nothing that tabs could share
        clock.advance(rng.choice((1, 10, 300)))
    last = sessions.open(jar)
    sessions.sync.load(last)
    assert last["p"] == acknowledged
    assert names <= set(last)


@pytest.mark.parametrize("detects", [None, False], ids=["detecting", "off"])
class TestSignIn:
    """A session that moves takes along what others have left on the server, and is lost by no failure."""

    @pytest.mark.parametrize("token", HOLDING.values(), ids=HOLDING)
    async def test_while_another_tab_writes(self, token: Any, detects: bool | None) -> None:
        """What it was told to be kept comes along; afterwards it is told that the session goes on elsewhere."""
        site = Site(token(RecordingStore()), detect_loss=detects)
        tab = site.tab()
        await tab.put(p=1, p_n=0)
        other = tab.beside()
        other.jar = dict(tab.jar)

        async def login(session: Session) -> None:
            session.login("ann")
            counting("p_n")(session)
            await other.do(lambda session: (session.update(p_other="kept"), counting("p_n")(session)))

        await tab.do(login)
        assert await tab.see() == {"p": 1, "p_n": 2, "p_other": "kept"}
        assert regressions(site) == []  # all of it was private, and is there
        assert await other.status(setting(p_late=1)) == 409

    async def test_two_that_sign_in_at_once(self, detects: bool | None) -> None:
        """One does, and the other is told that the session goes on under another identity."""
        site = Site(Token(private={"p"}, spill=RecordingStore()), detect_loss=detects)
        tab = site.tab()
        await tab.put(p=1)
        other = tab.beside()
        other.jar = dict(tab.jar)
        inner: list[int] = []

        async def login(session: Session) -> None:
            session.login("ann")
            inner.append(await other.status(lambda session: session.login("ann")))

        assert await tab.status(login) == 409
        assert inner == [200]
        assert await other.see() == {"p": 1}

    @pytest.mark.parametrize("where", ["one store", "two stores", "no notes"])
    @pytest.mark.parametrize("step", ["login", "rotate"])
    async def test_a_store_that_fails_halfway(self, where: str, step: str, detects: bool | None) -> None:
        """Once the old identity is noted to be over, or sealed, its browser gets the new one: 200, and all is there."""
        held = Parting()
        notes = {"one store": held, "two stores": Parting(), "no notes": None}[where]
        site = Site(Token(private={"p"}, spill=held, revocation=notes), detect_loss=detects)
        tab = site.tab()
        await tab.put(p=1, cart=["tea"])
        old = tab.beside()
        old.jar = dict(tab.jar)
        last = held if notes is None else notes
        last.fails_then = held
        await tab.do(lambda session: session.login("ann") if step == "login" else session.rotate())
        assert held.failure is not None
        last.fails_then = held.failure = None
        assert await tab.see() == {"p": 1, "cart": ["tea"]}
        site.clock.advance(40)
        assert await tab.see(1) == {"p": 1, "cart": ["tea"]}
        if notes is not None:
            assert await old.see() == {}

    @pytest.mark.parametrize("where", ["one store", "two stores"])
    async def test_a_store_that_fails_before(self, where: str, detects: bool | None) -> None:
        """503, and the session is as it was: it can be tried again."""
        held = Parting()
        notes = held if where == "one store" else RecordingStore()
        site = Site(Token(private={"p"}, spill=held, revocation=notes), detect_loss=detects)
        tab = site.tab()
        await tab.put(p=1)
        await tab.see()

        async def act(session: Session) -> None:
            session.rotate()
            notes.failure = ConnectionError("away")

        assert await tab.status(act) == 503
        notes.failure = None
        assert await tab.see() == {"p": 1}
        await tab.do(lambda session: session.rotate())
        assert await tab.see() == {"p": 1}


class Parting(RecordingStore):
    """A store after whose note, or seal, the one in `fails_then` is away."""

    fails_then: RecordingStore | None = None

    async def commit(self, key: str, change: Change) -> Record:
        committed = await super().commit(key, change)
        if change.expires_at is not None and change.expires_at < 0:
            self._part()
        return committed

    async def create(self, key: str, record: Record) -> bool:
        created = await super().create(key, record)
        if record.tag == ROTATED:
            self._part()
        return created

    async def end(self, key: str, tombstone: Record) -> None:
        await super().end(key, tombstone)
        self._part()

    def _part(self) -> None:
        if self.fails_then is not None:
            self.fails_then.failure = ConnectionError("away")
