"""`Token(revocation=…)` on a Bearer itself: what `open` refuses by what is at hand, and `check` by asking."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from holdfast import BadToken, Bearer, Keyring, StoreUnavailable, Token
from holdfast.stores.memory import MemoryStore
from holdfast.testing import FakeClock
from holdfast.tokens.pairs import Claims
from recording import RecordingStore

KEYS = Keyring.generate()

Check = Callable[[Bearer, str], Awaitable[Claims]]


@pytest.fixture(params=["async", "sync"])
def check(request: pytest.FixtureRequest) -> Check:
    """`bearer.check` with an access token, in one of the colours."""

    async def checked(bearer: Bearer, access: str) -> Claims:
        header = f"Bearer {access}"
        return await bearer.check(header) if request.param == "async" else bearer.sync.check(header)

    return checked


class Instances:
    """Two instances of one application: the store and the notes are all that they share."""

    def __init__(self, clock: FakeClock, **settings: Any) -> None:
        self.clock = clock
        self.notes = RecordingStore()
        self.events: list[str] = []
        store = MemoryStore()
        self.here, self.there = (
            Bearer(
                store,
                Token("jws", public={"role"}, revocation=self.notes, **settings),
                keys=KEYS,
                clock=clock,
                on_event=lambda event: self.events.append(event.kind),
            )
            for _ in range(2)
        )
        self.pair = self.here.sync.issue("user-42", {"role": "admin"})
        self.handle = self.here.open(f"Bearer {self.pair.access}").handle
        self.notes.taken()


@pytest.fixture
def instances(clock: FakeClock) -> Instances:
    return Instances(clock, revoke_within="5s")


async def refused(checked: Awaitable[Claims]) -> str:
    with pytest.raises(BadToken) as caught:
        await checked
    return caught.value.reason


@pytest.mark.parametrize("how", ["revoke", "end", "end_all", "reuse"])
async def test_open_refuses_what_this_instance_has_ended(how: str, clock: FakeClock) -> None:
    """At once, by what it has noted itself and without a question, whoever's the ending was."""
    both = Instances(clock)
    newest = await both.here.refresh(both.pair.refresh)
    clock.advance(31)
    if how == "revoke":
        await both.here.revoke(newest.refresh)
    elif how == "end":
        assert await both.here.end(both.handle)
    elif how == "end_all":
        assert await both.here.end_all("user-42") == 1
    else:
        with pytest.raises(BadToken, match="reused"):
            await both.here.refresh(both.pair.refresh)
    both.notes.taken()
    for access in (both.pair.access, newest.access):
        with pytest.raises(BadToken, match="ended") as caught:
            both.here.open(f"Bearer {access}")
        with pytest.raises(BadToken, match="ended"):
            both.here.sync.open(f"Bearer {access}")
    assert both.here.challenge(caught.value) == 'Bearer realm="api", error="invalid_token"'
    assert both.notes.taken() == []
    assert "token refused" not in both.events, "that it comes late is no news"


async def test_check_refuses_what_another_instance_has_ended(instances: Instances, check: Check) -> None:
    """Within the bound: what was known is good for five seconds, then the notes are asked."""
    here, there, access = instances.here, instances.there, instances.pair.access
    assert (await check(there, access)).values == {"role": "admin"}
    await here.end(instances.handle)
    assert await refused(check(here, access)) == "ended"
    instances.clock.advance(4.9)
    assert (await check(there, access)).owner == "user-42"
    instances.clock.advance(0.2)
    assert await refused(check(there, access)) == "ended"


async def test_open_refuses_what_check_has_heard_of(instances: Instances, check: Check) -> None:
    """Until then it asks nobody, as it says, and the token is good."""
    await instances.here.end(instances.handle)
    header = f"Bearer {instances.pair.access}"
    assert instances.there.open(header).owner == "user-42"
    assert await refused(check(instances.there, instances.pair.access)) == "ended"
    with pytest.raises(BadToken, match="ended"):
        instances.there.open(header)


async def test_what_check_costs(instances: Instances, check: Check) -> None:
    """One question for the session in five seconds; `open` costs none, ever."""
    for _ in range(3):
        for _ in range(10):
            assert (await check(instances.there, instances.pair.access)).owner == "user-42"
            instances.there.open(f"Bearer {instances.pair.access}")
        assert instances.notes.taken() == ["load"]
        instances.clock.advance(5.1)


async def test_garbage_is_not_asked_about(instances: Instances, check: Check) -> None:
    """What `open` refuses costs no store access in `check` either (promise 5)."""
    stranger = Bearer(MemoryStore(), keys=Keyring.generate(), clock=instances.clock).sync.issue("user-42")
    for access in ("", "x", "a.b.c", stranger.access, instances.pair.refresh, instances.pair.access[:-2]):
        assert await refused(check(instances.there, access)) != "ended"
    instances.clock.advance(300)
    assert await refused(check(instances.there, instances.pair.access)) == "expired"
    assert instances.notes.taken() == []


async def test_while_the_notes_are_away(instances: Instances, check: Check) -> None:
    """Where it is not known whether the session has ended, `check` says so; what is known goes on being used."""
    here, there, access = instances.here, instances.there, instances.pair.access
    await check(here, access)
    instances.notes.failure = ConnectionError()
    assert (await check(here, access)).owner == "user-42"
    with pytest.raises(StoreUnavailable):
        await check(there, access)
    assert instances.events[-1] == "store unavailable"
    assert there.open(f"Bearer {access}").owner == "user-42"
    instances.notes.failure = None
    assert (await check(there, access)).owner == "user-42"


async def test_check_where_nothing_is_noted(check: Check, clock: FakeClock) -> None:
    """Without `revocation` it is `open`: no store, and an access token that outlives its session by `access`."""
    store = RecordingStore()
    bearer = Bearer(store, keys=KEYS, clock=clock)
    pair = await bearer.issue("user-42", {"role": "admin"})
    await bearer.revoke(pair.refresh)
    store.taken()
    assert await check(bearer, pair.access) == bearer.open(f"Bearer {pair.access}")
    assert store.taken() == []
    clock.advance(300)
    assert await refused(check(bearer, pair.access)) == "expired"


async def test_claims_say_when_their_user_signed_in(clock: FakeClock) -> None:
    """However often the tokens were renewed since, in an access token and from the store."""
    bearer = Bearer(MemoryStore(), keys=KEYS, clock=clock)
    signed_in_at = clock.now
    pair = await bearer.issue("user-42")
    clock.advance(290)
    claims = bearer.open(f"Bearer {(await bearer.refresh(pair.refresh)).access}")
    assert claims.created_at == (await bearer.load(claims.handle)).created_at == signed_in_at
