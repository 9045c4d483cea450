"""Snapshots: sealed copies that browsers carry, safe to serve on an instance that has never heard of the session."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any

import pytest

from holdfast import ConfigError, Keyring, SessionGone, SessionNotLoaded, Sessions, StoreUnavailable
from holdfast.record import Record
from holdfast.stores.memory import MemoryStore
from holdfast.tokens import Token
from visitor import KEYS, Fleet, Visitor

SNAPSHOT, FLOOR, PIN = "__Host-session-snapshot", "__Host-session-floor", "__Host-session-pin"
TRUSTING = {"snapshot": "30s", "revoke_within": "31s"}
CAUTIOUS = {"snapshot": "30s"}
PRIVATE = {**TRUSTING, "private": {"oauth_token", "pii_*"}}
PIN_SECONDS = 32.0


def fleet_with(**settings: Any) -> Fleet:
    """Three instances without copies of their own, the last of which nobody has ever asked."""
    return Fleet(3, local=None, **settings)


def carrier(fleet: Fleet, **values: Any) -> Visitor:
    """A browser that carries a snapshot of these values, as old as this moment."""
    visitor = fleet.visitor()
    visitor.put(0, **(values or {"n": 1}))
    fleet.clock.advance(PIN_SECONDS + 0.5)
    visitor.do(len)
    assert visitor.cookies[SNAPSHOT][0]
    fleet.store.taken()
    fleet.kinds()
    return visitor


def key(visitor: Visitor) -> str:
    """The key of the visitor's session."""
    session = visitor.begin(1)
    assert session._key is not None
    return session._key


class TestServing:
    """When a snapshot answers."""

    def test_a_cold_instance_answers_without_any_command(self) -> None:
        """Nothing is asked within the time that an ending may take to arrive."""
        fleet = fleet_with(**TRUSTING)
        visitor = carrier(fleet)
        fleet.clock.advance(29)
        assert visitor.home(2) == "snapshot"
        assert visitor.see(2) == {"n": 1}
        assert fleet.store.taken() == []

    def test_a_fresh_process_answers_without_a_store(self) -> None:
        """All that it needs are the keys."""
        program = (
            "import os, sys, holdfast\n"
            "class Nothing:\n"
            "    colours, max_bytes = frozenset({'sync'}), None\n"
            "    def __getattr__(self, name): raise AttributeError(name)\n"
            "    async def load(self, *args, **kwargs): raise OSError('asked')\n"
            "    create = commit = end = load\n"
            "sessions = holdfast.Sessions(Nothing(), keys=os.environ['KEY'], snapshot='30s', revoke_within='31s')\n"
            "session = sessions.open(os.environ['COOKIE'].encode())\n"
            "sessions.sync.load(session)\n"
            "print(dict(session), sessions.explain(session).home)\n"
        )
        secret = Keyring.new_secret()
        fleet = Fleet(1, local=None, **TRUSTING)
        fleet.clock.now = time.time() - PIN_SECONDS - 1.0
        fleet.instances = [Sessions(fleet.store, keys=secret, clock=fleet.clock, local=None, **TRUSTING)]  # type: ignore[arg-type]
        visitor = carrier(fleet)
        environment = {**os.environ, "KEY": secret, "COOKIE": visitor.header().decode()}
        answer = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60
        )
        assert answer.stdout == "{'n': 1} snapshot\n", answer.stderr

    def test_by_default_the_feed_is_read_once_a_second(self) -> None:
        """An ending arrives within a second; so does the question for it, whatever the traffic."""
        fleet = fleet_with(**CAUTIOUS)
        visitor = carrier(fleet)
        for _ in range(3):
            fleet.clock.advance(1.1)
            for _ in range(5):
                assert visitor.home(2) == "snapshot"
            assert fleet.store.taken() == ["load"]

    def test_clocks_that_differ_do_not_prolong_the_trust(self) -> None:
        """With a second for revocation nothing is left of it: another instance's clock may be a second behind."""
        fleet = fleet_with(snapshot="30s", revoke_within="10s")
        visitor = carrier(fleet)
        fleet.clock.advance(8.9)
        assert visitor.home(2) == "snapshot"
        assert fleet.store.taken() == []
        fleet.clock.advance(0.2)
        assert visitor.home(2) == "snapshot"
        assert fleet.store.taken() == ["load"]

    def test_one_is_planted_by_a_quiet_read_of_the_store_only(self) -> None:
        """Not by writes, not while pinned, not by a read that has news, not by a copy's answer, not untouched."""
        fleet = fleet_with(**TRUSTING)
        visitor = fleet.visitor()
        assert SNAPSHOT not in visitor.finish(_put(visitor.begin(), n=1))
        assert SNAPSHOT not in visitor.finish(_looked(visitor.begin()))
        fleet.clock.advance(PIN_SECONDS + 0.5)
        assert visitor.finish(visitor.begin()) == []
        assert visitor.finish(_looked(visitor.begin())) == [SNAPSHOT]
        assert visitor.finish(_looked(visitor.begin(1))) == []
        fleet.clock.advance(31)
        fleet.store.commands.clear()
        assert SNAPSHOT not in visitor.finish(_put(visitor.begin(1), m=2), 1)
        del visitor.cookies[FLOOR], visitor.cookies[PIN]
        assert set(visitor.finish(_looked(visitor.begin(1)), 1)) == {FLOOR, PIN}

    @pytest.mark.parametrize(("slow", "life"), [(0, 30), (12, 18), (31, None)])
    def test_a_slow_handler_shortens_its_life(self, slow: float, life: float | None) -> None:
        """It counts from the read of the store; what is too old when the response leaves is not sent."""
        fleet = fleet_with(**TRUSTING)
        visitor = fleet.visitor()
        visitor.put(0, n=1)
        fleet.clock.advance(PIN_SECONDS + 0.5)
        session = _looked(visitor.begin())
        fleet.clock.advance(slow)
        visitor.finish(session)
        if life is None:
            assert SNAPSHOT not in visitor.cookies
        else:
            assert visitor.cookies[SNAPSHOT][1] - fleet.clock() == life
            fleet.clock.advance(life)
            visitor.cookies[SNAPSHOT] = (visitor.cookies[SNAPSHOT][0], fleet.clock() + 99)
            assert visitor.home(2) == "snapshot"
            fleet.clock.advance(0.1)
            assert visitor.home(2) == "store"

    def test_the_pin_outlives_snapshots(self) -> None:
        """Whatever is carried when something new is shown is too old when reads are no longer strong."""
        fleet = fleet_with(**TRUSTING)
        visitor = carrier(fleet)
        visitor.put(1, n=2)
        assert visitor.cookies[PIN][1] - fleet.clock() == PIN_SECONDS
        cached = Fleet(1, cache="memory://", **TRUSTING)
        assert cached.instances[0]._homes.pin_seconds(False) > 300 + 30  # type: ignore[union-attr]

    def test_strong_routes_do_not_look_at_it(self) -> None:
        """The store answers them, and the browser is given a newer one."""
        fleet = fleet_with(**TRUSTING)
        visitor = carrier(fleet)
        fleet.clock.advance(20)
        assert visitor.home(2, "strong") == "store"
        fleet.clock.advance(20)
        assert visitor.home(2) == "snapshot"

    def test_a_session_loaded_again_is_loaded_from_the_store(self) -> None:
        """`load("strong")` after a snapshot has answered."""
        fleet = fleet_with(**PRIVATE)
        visitor = carrier(fleet, n=1, oauth_token="secret")
        session = visitor.begin(2)
        fleet.instances[2].sync.load(session, "strong")
        assert session["oauth_token"] == "secret"
        assert fleet.store.taken() == ["load"]

    def test_where_instances_have_copies_these_come_first(self) -> None:
        """Once the feed is known an own copy is nearer, and a shared cache is asked where a snapshot may not answer."""
        fleet = Fleet(2, cache=MemoryStore(), **CAUTIOUS)
        visitor = carrier(fleet)
        fleet.clock.advance(1)
        assert [visitor.home(0) for _ in range(2)] == ["snapshot", "local"]
        assert visitor.home(1) == "snapshot"
        fleet.clock.advance(30.5)
        assert visitor.home(1) == "cache"

    def test_news_in_a_snapshot_goes_by_way_of_the_cache(self) -> None:
        """The cache must hold nothing older before the browser may know of it: the snapshot does not answer."""
        fleet = Fleet(2, local=None, cache=MemoryStore(), **TRUSTING)
        visitor = carrier(fleet)
        record = fleet.store._records[key(visitor)]
        newer = record._replace(version=record.version + 1, tag=b"12345678")
        _carry(fleet, visitor, newer, fleet.clock())
        assert visitor.home(1) == "cache"


class TestRefusing:
    """When it must not."""

    def test_below_the_floor(self) -> None:
        """Also when the pin has got lost, and the instance's view of all else is in its favour."""
        fleet = fleet_with(**TRUSTING)
        visitor = carrier(fleet)
        old = visitor.cookies[SNAPSHOT]
        record = fleet.store._records[key(visitor)]
        visitor.put(1, n=2)
        fleet.clock.advance(PIN_SECONDS + 0.5)
        _carry(fleet, visitor, record, fleet.clock())
        assert visitor.see(2) == {"n": 2}
        visitor.cookies[SNAPSHOT] = old
        assert visitor.see(2) == {"n": 2}

    def test_another_state_of_the_same_version(self) -> None:
        """What the store had before it lost something is known by its tag."""
        fleet = fleet_with(**TRUSTING)
        visitor = carrier(fleet)
        other = fleet.store._records[key(visitor)]._replace(tag=b"87654321", values={})
        _carry(fleet, visitor, other, fleet.clock())
        assert visitor.see(2) == {"n": 1}

    def test_while_pinned(self) -> None:
        """A constant says so, that no late response can turn back."""
        fleet = fleet_with(**TRUSTING)
        visitor = carrier(fleet)
        visitor.cookies[PIN] = ("1", fleet.clock() + 9)
        assert visitor.home(2) == "store"

    @pytest.mark.parametrize("floor", [None, "", "A" * 92])
    def test_without_a_floor(self, floor: str | None) -> None:
        """Nothing is known of what the browser has seen."""
        fleet = fleet_with(**TRUSTING)
        visitor = carrier(fleet)
        if floor is None:
            del visitor.cookies[FLOOR]
        else:
            visitor.cookies[FLOOR] = (floor, fleet.clock() + 100)
        assert visitor.home(2) == "store"

    def test_too_old(self) -> None:
        """By the time at which its read of the store began; a browser that keeps it all the same is not believed."""
        fleet = fleet_with(**TRUSTING)
        visitor = carrier(fleet)
        kept = visitor.cookies[SNAPSHOT][0]
        fleet.clock.advance(30)
        visitor.cookies[SNAPSHOT] = (kept, fleet.clock() + 999)
        assert visitor.home(2) == "snapshot"
        fleet.clock.advance(0.1)
        assert visitor.home(2) == "store"

    def test_replay_of_an_older_one_beyond_its_bound(self) -> None:
        """Whoever sends an old snapshot again sees no more than was to be seen within its time (ASVS 5.0, V9.2.1)."""
        fleet = fleet_with(**TRUSTING)
        visitor = carrier(fleet)
        old = visitor.cookies[SNAPSHOT][0]
        thief = Visitor(fleet)
        thief.cookies = dict(visitor.cookies)
        fleet.visitor()
        fleet.store._records[key(visitor)] = fleet.store._records[key(visitor)]._replace(
            version=9, tag=b"elsewher", values={"n": b"\x09"}
        )
        fleet.clock.advance(29.9)
        thief.cookies[SNAPSHOT] = (old, fleet.clock() + 999)
        assert thief.see(2) == {"n": 1}
        fleet.clock.advance(0.2)
        assert thief.see(2) == {"n": 9}

    @pytest.mark.parametrize(("ahead", "home"), [(0.9, "snapshot"), (1.1, "store")])
    def test_from_the_future(self, ahead: float, home: str) -> None:
        """Clocks differ by a second; by more, nobody knows how old it is."""
        fleet = fleet_with(**TRUSTING)
        visitor = carrier(fleet)
        _carry(fleet, visitor, fleet.store._records[key(visitor)], fleet.clock() + ahead)
        assert visitor.home(2) == home

    def test_of_another_identity(self) -> None:
        """It is sealed for one: in another browser's hand it is nothing."""
        fleet = fleet_with(**TRUSTING)
        visitor, other = carrier(fleet, n=1), carrier(fleet, n=2)
        visitor.cookies[SNAPSHOT] = other.cookies[SNAPSHOT]
        assert visitor.see(2) == {"n": 1}
        assert visitor.home(2) == "snapshot"  # its own, which the read of the store has brought

    def test_of_another_application_or_other_keys(self) -> None:
        """Keys are derived for a purpose and a cookie's name."""
        fleet = fleet_with(**TRUSTING)
        visitor = carrier(fleet)
        token = visitor.cookies[SNAPSHOT][0].encode()
        identity = visitor.begin()._known.identity
        now = fleet.clock()
        for keys, name in ((KEYS, "other"), (Keyring.generate(), "session")):
            other = Sessions(fleet.store, keys=keys, cookie_name=name, clock=fleet.clock, **TRUSTING)  # type: ignore[arg-type]
            assert other._homes.snapshots is not None
            assert other._homes.snapshots.open(token, identity, now) is None
        own = fleet.instances[2]._homes.snapshots
        assert own is not None
        assert own.open(token, identity, now) is not None

    def test_every_byte_counts(self) -> None:
        """Changed, cut short or prolonged, a snapshot is none; the store answers, and nothing is raised."""
        fleet = fleet_with(**TRUSTING)
        visitor = carrier(fleet)
        token = visitor.cookies[SNAPSHOT][0]
        identity = visitor.begin()._known.identity
        snapshots = fleet.instances[2]._homes.snapshots
        assert snapshots is not None
        for place, letter in enumerate(token):
            bad = token[:place] + ("A" if letter != "A" else "B") + token[place + 1 :]
            assert snapshots.open(bad.encode(), identity, fleet.clock()) is None, place
            assert snapshots.open(token[:place].encode(), identity, fleet.clock()) is None
        for longer in (token + "A", token + "=", "A" + token, token * 40):
            assert snapshots.open(longer.encode(), identity, fleet.clock()) is None

    @pytest.mark.parametrize("text", ["", "x", "é", "=" * 500, "A" * 3000, "A" * 90_000, "-" * 100])
    def test_rubbish(self, text: str) -> None:
        """It costs the read of the store that would have been due without it, and no exception."""
        fleet = fleet_with(**TRUSTING)
        visitor = carrier(fleet)
        visitor.cookies[SNAPSHOT] = (text, fleet.clock() + 99)
        assert visitor.see(2) == {"n": 1}
        assert fleet.store.taken() == ["load"]

    def test_two_of_them(self) -> None:
        """No rule tells which one was planted: neither counts."""
        fleet = fleet_with(**TRUSTING)
        visitor = carrier(fleet)
        name, value = SNAPSHOT, visitor.cookies[SNAPSHOT][0]
        session = fleet.instances[2].open(visitor.header() + f"; {name}={value}".encode())
        fleet.instances[2].sync.load(session)
        assert fleet.instances[2].explain(session).home == "store"

    def test_expired(self) -> None:
        """By the record's own deadline, which only the store can confirm."""
        fleet = fleet_with(**TRUSTING)
        visitor = carrier(fleet)
        record = fleet.store._records[key(visitor)]
        fleet.clock.now = record.expires_at - 5
        _carry(fleet, visitor, record, fleet.clock())
        fleet.clock.advance(5)
        assert visitor.see(2) == {}

    def test_a_record_that_is_too_large_has_none(self) -> None:
        """The store goes on to answer; nothing is cut off."""
        fleet = fleet_with(**TRUSTING)
        visitor = fleet.visitor()
        visitor.put(0, text=os.urandom(1200).hex())
        fleet.clock.advance(PIN_SECONDS + 0.5)
        visitor.do(len)
        assert SNAPSHOT not in visitor.cookies
        assert len(visitor.see(2)["text"]) == 2400

    def test_the_largest_one_fits_into_a_cookie(self) -> None:
        """4,096 bytes with its name and attributes, as browsers count."""
        fleet = fleet_with(**TRUSTING, cookie_name="s" * 55, idle="12h")
        visitor, largest = fleet.visitor(), 0
        visitor.put(0, text="")
        for size in range(1950, 2400, 4):
            visitor.put(0, text="x" * size)
            fleet.clock.advance(PIN_SECONDS + 0.5)
            session = _looked(visitor.begin())
            fleet.instances[0].sync.commit(session)
            lines = [line for _, line in session._outgoing() if b"-snapshot=" in line]
            largest = max([largest, *map(len, lines)])
            visitor.receive(session)
            if not lines:
                break
        else:
            pytest.fail("no limit was met")
        assert 3000 < largest <= 4096


class TestEndings:
    """A snapshot does not keep a session alive."""

    def test_an_administrator_ends_it(self) -> None:
        """It is refused on every instance within `revoke_within`, here the default of a second."""
        fleet = fleet_with(**CAUTIOUS)
        visitor = carrier(fleet)
        assert visitor.home(2) == "snapshot"
        assert fleet.instances[0].sync.end(key(visitor))
        fleet.clock.advance(1.01)
        assert visitor.see(2) == {}
        assert visitor.see(1) == {}

    def test_ended_with_time_to_arrive(self) -> None:
        """Shown for as long as was asked for, and not longer; where the end was, at once."""
        fleet = fleet_with(snapshot="30s", revoke_within="10s")
        visitor = carrier(fleet)
        assert fleet.instances[0].sync.end(key(visitor))
        assert visitor.see(0) == {}
        fleet.clock.advance(9)
        assert visitor.home(2) == "snapshot"
        fleet.clock.advance(0.5)
        assert visitor.see(2) == {}

    def test_the_feed_remembers_for_as_long_as_snapshots_live(self) -> None:
        """Other endings, later, do not crowd it out."""
        fleet = fleet_with(**CAUTIOUS)
        visitor, other = carrier(fleet), carrier(fleet)
        visitor.do(len, 1, "strong")
        assert fleet.instances[0].sync.end(key(visitor))
        fleet.clock.advance(29.5)
        assert fleet.instances[0].sync.end(key(other))
        assert visitor.see(2) == {}

    def test_a_feed_that_cannot_be_read_makes_reads_strong(self) -> None:
        """And where the store cannot answer either, an ended session is not shown."""
        fleet = fleet_with(**CAUTIOUS)
        visitor = carrier(fleet)
        fleet.clock.advance(1)
        fleet.store.failure = OSError("away")
        session = visitor.begin(2)
        with pytest.raises(StoreUnavailable):
            session["n"]
        fleet.store.failure = None
        assert visitor.home(2) == "snapshot"

    def test_logout_takes_it_away(self) -> None:
        """With the identity; and sent again, it shows nothing on an instance that knows."""
        fleet = fleet_with(**CAUTIOUS)
        visitor = carrier(fleet)
        thief = Visitor(fleet)
        thief.cookies = dict(visitor.cookies)
        visitor.do(lambda session: session.logout(), 1)
        assert SNAPSHOT not in visitor.header().decode()
        assert visitor.see(2) == {}
        fleet.clock.advance(1.01)
        assert thief.see(2) == {}

    def test_logout_from_a_snapshot_ends_the_stored_session(self) -> None:
        """Though it was never loaded: the tombstone is in the store."""
        fleet = fleet_with(**PRIVATE)
        visitor = carrier(fleet, n=1, oauth_token="secret")
        name = key(visitor)
        visitor.do(lambda session: session.logout(), 2)
        assert fleet.store._records[name].ended
        assert fleet.store._records[name].values == {}

    def test_after_a_login_the_old_one_is_nothing(self) -> None:
        """The new identity cannot open it, and the old session is over."""
        fleet = fleet_with(**TRUSTING)
        visitor = carrier(fleet)
        old = visitor.cookies[SNAPSHOT]
        visitor.do(lambda session: session.login("ada"), 1)
        for pin in (PIN, "__Host-session-long-pin"):
            visitor.cookies.pop(pin, None)
        visitor.cookies[SNAPSHOT] = old
        session = visitor.begin(2)
        assert (session.owner, dict(session)) == ("ada", {"n": 1})
        assert fleet.instances[2].explain(session).home == "store"

    def test_a_write_from_the_snapshot_of_an_ended_session_is_refused(self) -> None:
        """The store decides about every write: 409, and nothing lives again."""
        fleet = fleet_with(**TRUSTING)
        visitor = carrier(fleet)
        name = key(visitor)
        assert fleet.instances[0].sync.end(name)
        session = visitor.begin(2)
        session["n"] = 2
        with pytest.raises(SessionGone):
            visitor.finish(session, 2)
        assert fleet.store._records[name].ended


class TestWriting:
    """A snapshot is never the authority for a write."""

    def test_a_write_is_one_command_and_judged_by_the_store(self) -> None:
        """What another has written meanwhile stays."""
        fleet = fleet_with(**TRUSTING)
        visitor = carrier(fleet, n=1)
        other = _other_device(fleet, visitor)
        other.put(1, m=5)
        fleet.store.taken()
        visitor.put(2, k=3)
        assert fleet.store.taken() == ["commit"]
        assert other.see(1) == {"n": 1, "m": 5, "k": 3}

    def test_an_alteration_counts_on_from_what_is_stored(self) -> None:
        """Upon a conflict it is applied to the store's value, not to the snapshot's."""
        fleet = fleet_with(**TRUSTING)
        visitor = carrier(fleet, n=1)
        _other_device(fleet, visitor).do(_count, 1)
        assert visitor.do(_count, 2) == 2
        assert visitor.see(0) == {"n": 3}

    @pytest.mark.parametrize("private", [False, True])
    def test_a_login_counts_on_from_what_is_stored(self, private: bool) -> None:
        """Also where it has to load first what the snapshot has left behind; and nothing is told of a loss."""
        fleet = fleet_with(**(PRIVATE if private else TRUSTING))
        visitor = carrier(fleet, n=1, oauth_token="secret")
        _other_device(fleet, visitor).do(_count, 1)
        fleet.kinds()

        def sign_in(session: Any) -> None:
            _count(session)
            session.login("ada")

        visitor.do(sign_in, 2)
        assert visitor.see(0) == {"n": 3, "oauth_token": "secret"}
        assert "regression" not in fleet.kinds()

    def test_it_is_not_the_base_after_a_loss(self) -> None:
        """A store that has gone back behind a snapshot is noticed by the write."""
        fleet = fleet_with(**TRUSTING)
        visitor = carrier(fleet, n=1)
        name = key(visitor)
        record = fleet.store._records[name]
        visitor.put(0, n=2)
        fleet.clock.advance(PIN_SECONDS + 0.5)
        visitor.do(len)
        fleet.store._records[name] = record
        fleet.kinds()
        visitor.put(2, m=1)
        assert fleet.kinds() == ["regression"]


class TestPrivate:
    """Values that never leave the server. Their names are known, and they can be replaced unread."""

    @pytest.fixture
    def fleet(self) -> Fleet:
        return fleet_with(**PRIVATE)

    @pytest.fixture
    def visitor(self, fleet: Fleet) -> Visitor:
        return carrier(fleet, n=1, oauth_token="secret", pii_email="ada@example.org")

    def test_they_are_not_in_the_token(self, fleet: Fleet, visitor: Visitor) -> None:
        """Not even sealed."""
        snapshots = fleet.instances[0]._homes.snapshots
        assert snapshots is not None
        token, identity = visitor.cookies[SNAPSHOT][0].encode(), visitor.begin()._known.identity
        found = snapshots.open(token, identity, fleet.clock())
        assert found is not None
        assert (set(found.record.values), found.withheld) == ({"n"}, {"oauth_token", "pii_email"})

    def test_what_needs_no_value_works(self, fleet: Fleet, visitor: Visitor) -> None:
        """Names, their number, and all that is not private."""
        session = visitor.begin(2)
        assert fleet.instances[2].explain(session).home == "snapshot"
        assert ("oauth_token" in session, "pii_email" in session, "pii_name" in session) == (
            True,
            True,
            False,
        )
        assert (len(session), set(session)) == (3, {"n", "oauth_token", "pii_email"})
        assert (session["n"], session.get("pii_name"), session.setdefault("n", 5)) == (1, None, 1)
        assert fleet.store.taken() == []

    @pytest.mark.parametrize(
        "act",
        [
            lambda session: session["oauth_token"],
            lambda session: session.get("oauth_token"),
            lambda session: session.get("oauth_token", "default"),
            lambda session: session.pop("oauth_token"),
            lambda session: session.pop("oauth_token", None),
            lambda session: session.setdefault("oauth_token", "new"),
            lambda session: session.alter("oauth_token", lambda old: old),
            lambda session: dict(session),
            lambda session: list(session.values()),
            lambda session: session == {},
        ],
    )
    def test_reading_one_says_how_to_get_it(self, visitor: Visitor, act: Any) -> None:
        """Never None, never a default, never "there is none"; and nothing is changed by having tried."""
        session = visitor.begin(2)
        with pytest.raises(SessionNotLoaded, match='load\\("strong"\\)'):
            act(session)
        assert not session._is_changed()

    def test_set_and_update(self, fleet: Fleet, visitor: Visitor) -> None:
        """A value can be put in the place of one that was not read; it can be read then."""
        session = visitor.begin(2)
        session["oauth_token"] = "new"
        session.update(pii_email="eve@example.org", k=2)
        assert (session["oauth_token"], len(session)) == ("new", 4)
        visitor.finish(session, 2)
        assert fleet.store.taken() == ["commit"]
        assert visitor.see(1) == {"n": 1, "oauth_token": "new", "pii_email": "eve@example.org", "k": 2}

    def test_del_and_clear(self, fleet: Fleet, visitor: Visitor) -> None:
        """What is removed unread is gone from the store."""
        visitor.do(lambda session: session.__delitem__("oauth_token"), 2)
        assert visitor.see(1) == {"n": 1, "pii_email": "ada@example.org"}
        again = carrier(fleet, n=1, oauth_token="secret")

        def empty(session: Any) -> None:
            session.clear()
            assert (len(session), "oauth_token" in session) == (0, False)
            with pytest.raises(KeyError):
                session["oauth_token"]

        again.do(empty, 2)
        assert again.see(1) == {}

    def test_set_after_del(self, fleet: Fleet, visitor: Visitor) -> None:
        """The last word counts, as in any mapping."""

        def swap(session: Any) -> None:
            del session["oauth_token"]
            session["oauth_token"] = "new"

        visitor.do(swap, 2)
        assert visitor.see(1)["oauth_token"] == "new"

        def withdraw(session: Any) -> None:
            session["oauth_token"] = "newer"
            del session["oauth_token"]

        fleet.clock.advance(PIN_SECONDS + 0.5)
        visitor.do(len)
        visitor.do(withdraw, 2)
        assert "oauth_token" not in visitor.see(1)

    def test_after_a_write_all_is_there(self, visitor: Visitor, fleet: Fleet) -> None:
        """The store has answered with the whole record."""
        session = visitor.begin(2)
        session["k"] = 1
        fleet.instances[2].sync.commit(session)
        assert session["oauth_token"] == "secret"

    @pytest.mark.parametrize("act", [lambda session: session.login("ada"), lambda session: session.rotate()])
    def test_they_move_to_a_new_identity(self, fleet: Fleet, visitor: Visitor, act: Any) -> None:
        """Read from the store on the way; and that they were not at hand is not taken for a loss."""
        visitor.do(act, 2)
        assert fleet.kinds() == ["session renewed"]
        assert visitor.see(1) == {"n": 1, "oauth_token": "secret", "pii_email": "ada@example.org"}

    def test_a_login_from_the_snapshot_of_an_ended_session(self, fleet: Fleet, visitor: Visitor) -> None:
        """There is nothing left to move: refused, and no new identity."""
        session = visitor.begin(2)
        session.login("ada")
        fleet.instances[0].sync.end(key(visitor))
        with pytest.raises(SessionGone):
            visitor.finish(session, 2)
        assert session._outgoing() == []

    def test_a_change_given_up_leaves_them_withheld(self, visitor: Visitor) -> None:
        """After a failure an error page may look at the session, and must not take them for missing."""
        session = visitor.begin(2)
        del session["oauth_token"]
        session._abandon()
        assert "oauth_token" in session


class TestRemembering:
    """An instance recognises what it has opened a moment ago. No check of time, floor or feed is saved by that."""

    def test_one_that_was_opened_grows_too_old(self) -> None:
        """Its age is judged each time."""
        fleet = fleet_with(**CAUTIOUS)
        visitor = carrier(fleet)
        kept = visitor.cookies[SNAPSHOT][0]
        assert [visitor.home(2) for _ in range(3)] == ["snapshot"] * 3
        fleet.clock.advance(30.1)
        visitor.cookies[SNAPSHOT] = (kept, fleet.clock() + 999)
        assert visitor.home(2) == "store"

    def test_one_that_was_opened_is_judged_by_the_feed(self) -> None:
        """Each second anew."""
        fleet = fleet_with(**CAUTIOUS)
        visitor = carrier(fleet)
        fleet.clock.advance(1)
        assert visitor.home(2) == "snapshot"
        fleet.instances[0].sync.end(key(visitor))
        fleet.clock.advance(1.01)
        assert visitor.see(2) == {}

    def test_one_that_was_opened_is_judged_by_the_floor(self) -> None:
        """Of the request that brings it."""
        fleet = fleet_with(**TRUSTING)
        visitor = carrier(fleet)
        assert visitor.home(2) == "snapshot"
        kept = visitor.cookies[SNAPSHOT]
        visitor.put(1, n=2)
        del visitor.cookies[PIN]
        floor = visitor.begin(1)._known.question.floor
        assert floor is not None
        visitor.cookies[FLOOR] = (
            fleet.instances[2]._engine._floors.make(
                floor._replace(strong_until=0.0), visitor.begin()._known.identity
            ),  # type: ignore[union-attr]
            fleet.clock() + 99,
        )
        visitor.cookies[SNAPSHOT] = kept
        assert visitor.see(2) == {"n": 2}

    def test_one_that_was_opened_by_a_key_that_is_removed(self) -> None:
        """It is nothing from then on."""
        old, new = Keyring.new_secret(), Keyring.new_secret()
        ring = Keyring([old])
        fleet = fleet_with(**TRUSTING)
        fleet.instances = [Sessions(fleet.store, keys=ring, clock=fleet.clock, local=None, **TRUSTING)]  # type: ignore[arg-type]
        visitor = fleet.visitor()
        visitor.put(0, n=1)
        fleet.clock.advance(PIN_SECONDS + 0.5)
        visitor.do(len)
        snapshots, identity = fleet.instances[0]._homes.snapshots, visitor.begin()._known.identity
        token = visitor.cookies[SNAPSHOT][0].encode()
        assert snapshots is not None
        ring._replace([new, old])
        assert snapshots.open(token, identity, fleet.clock()) is not None
        ring._replace([new])
        assert snapshots.open(token, identity, fleet.clock()) is None

    def test_one_that_was_opened_is_another_browsers_nothing(self) -> None:
        """It is found by its bytes, and shown to its own identity only."""
        fleet = fleet_with(**TRUSTING)
        other, visitor = carrier(fleet, n=2), carrier(fleet, n=1)
        assert visitor.home(2) == "snapshot"
        token, snapshots = visitor.cookies[SNAPSHOT][0].encode(), fleet.instances[2]._homes.snapshots
        assert snapshots is not None
        for browser, is_its_own in ((visitor, True), (other, False)):
            found = snapshots.open(token, browser.begin()._known.identity, fleet.clock())
            assert (found is not None) == is_its_own

    def test_what_handlers_do_to_values_stays_with_them(self) -> None:
        """Two requests with one snapshot share no object."""
        fleet = fleet_with(**TRUSTING)
        visitor = carrier(fleet, cart=["tea"])
        session = visitor.begin(2)
        session["cart"].append("milk")  # and the request fails
        assert visitor.begin(2)["cart"] == ["tea"]

    def test_memory_is_bounded(self) -> None:
        """Whatever number of browsers comes by."""
        fleet = fleet_with(**TRUSTING)
        snapshots = fleet.instances[0]._homes.snapshots
        assert snapshots is not None
        for number in range(400):
            identity = b"%032d" % number
            record = Record(1, b"12345678", {"x": os.urandom(2000)}, None, 0.0, 9e9)
            token = snapshots.make(record, fleet.clock(), identity, fleet.clock())
            assert token is not None
            assert snapshots.open(token.encode(), identity, fleet.clock()) is not None
        assert sum(2 * len(token) for token in snapshots._opened) <= 2**20


class TestSettings:
    """What can be asked for."""

    def test_a_host_that_passes_one_cookie_has_no_room(self) -> None:
        """Said when the application starts."""
        with pytest.raises(ConfigError, match="one cookie"):
            Sessions("memory://", cookie_name="__session", snapshot="30s")

    def test_private_without_anything_that_travels(self) -> None:
        """It would promise what is so anyway, or was meant for something else."""
        with pytest.raises(ConfigError, match="snapshot="):
            Sessions("memory://", private={"oauth_token"})

    def test_private_beside_a_token_is_not_ignored(self) -> None:
        """What was to stay on the server would travel."""
        with pytest.raises(ConfigError, match="Token\\(private="):
            Sessions(token=Token(), keys=KEYS, private={"oauth_token"})

    @pytest.mark.parametrize("life", ["", "0s", -1, "soon"])
    def test_a_life_that_is_none(self, life: Any) -> None:
        """A mistake is no "off"."""
        with pytest.raises(ConfigError, match="snapshot"):
            Sessions("memory://", snapshot=life)

    def test_off_means_off(self) -> None:
        """What a browser sends is not looked at, and nothing is planted."""
        fleet = fleet_with(**TRUSTING)
        visitor = carrier(fleet)
        plain = Sessions(fleet.store, keys=KEYS, clock=fleet.clock, local=None, detect_loss=True)
        session = plain.open(visitor.header())
        plain.sync.load(session)
        assert (dict(session), plain.explain(session).home) == ({"n": 1}, "store")
        plain.sync.commit(session)
        assert session._outgoing() == []

    def test_rotated_keys_still_open_it(self) -> None:
        """And what the newest has sealed is opened by all."""
        old, new = Keyring.new_secret(), Keyring.new_secret()
        fleet = fleet_with(**TRUSTING)
        fleet.instances = [
            Sessions(fleet.store, keys=keys, clock=fleet.clock, local=None, **TRUSTING)  # type: ignore[arg-type]
            for keys in ([old], [new, old], [new, old])
        ]
        visitor = carrier(fleet)
        assert visitor.home(2) == "snapshot"


def _carry(fleet: Fleet, visitor: Visitor, record: Record, as_of: float) -> None:
    """Put a snapshot into the browser that no response has planted."""
    snapshots = fleet.instances[0]._homes.snapshots
    identity = visitor.begin()._known.identity
    assert snapshots is not None
    token = snapshots.make(record, as_of, identity, fleet.clock())
    assert token is not None
    visitor.cookies[SNAPSHOT] = (token, fleet.clock() + 999)


def _other_device(fleet: Fleet, visitor: Visitor) -> Visitor:
    """Another browser with the same identity, and cookies of its own."""
    other = Visitor(fleet)
    other.cookies = {"__Host-session": visitor.cookies["__Host-session"]}
    return other


def _put(session: Any, **values: Any) -> Any:
    session.update(values)
    return session


def _looked(session: Any) -> Any:
    len(session)
    return session


def _count(session: Any) -> Any:
    return session.alter("n", lambda n: n + 1, default=0)
