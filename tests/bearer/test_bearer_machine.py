"""The state machine of refresh tokens: each case by itself, and then whole families, by their histories."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.tokens.refresh import State, Verdict, advanced, judge

NOW = 1_750_000_000.0
GRACE = 30.0
FIFTH = State(5, NOW)


@pytest.mark.parametrize(
    ("presented", "later", "verdict"),
    [
        pytest.param(5, 0.0, "advance", id="the newest, at once"),
        pytest.param(5, 1e7, "advance", id="the newest, whenever it comes: its life is the record's"),
        pytest.param(5, -5.0, "advance", id="the newest, by a clock that is behind"),
        pytest.param(4, 0.0, "repeat", id="the one before, at the same moment: two tabs"),
        pytest.param(4, GRACE, "repeat", id="the one before, at the end of the grace: a lost response"),
        pytest.param(4, -5.0, "repeat", id="the one before, by a clock that is behind"),
        pytest.param(4, -3600.0, "repeat", id="the one before, in a request that was held up for long"),
        pytest.param(4, GRACE + 0.001, "reuse", id="the one before, too late (SuperTokens: recent)"),
        pytest.param(4, 1e7, "reuse", id="the one before, much too late"),
        pytest.param(3, 0.0, "reuse", id="two before, grace or not (django-oauth-toolkit#1617)"),
        pytest.param(3, -5.0, "reuse", id="two before, by a clock that is behind"),
        pytest.param(1, 1e7, "reuse", id="the first, which a thief has kept (SuperTokens: stale lineage)"),
        pytest.param(6, 0.0, "lost", id="one that the store has never heard of"),
        pytest.param(2**64 - 1, -5.0, "lost", id="far ahead of the store"),
    ],
)
def test_what_becomes_of_a_token(presented: int, later: float, verdict: Verdict) -> None:
    """The family's fifth generation was handed out; this one turns up so much later."""
    assert judge(FIFTH, presented, NOW + later, GRACE) == verdict


@pytest.mark.parametrize("later", [-5.0, 0.0, 0.001])
def test_without_grace_each_token_works_once(later: float) -> None:
    """At the same moment too, and whatever the clocks say."""
    assert judge(FIFTH, 4, NOW + later, 0.0) == "reuse"
    assert judge(FIFTH, 5, NOW + later, 0.0) == "advance"


def test_a_repeat_does_not_make_the_grace_longer() -> None:
    """It begins when a token is handed out first: nobody stays in it by asking again and again."""
    for second in range(1, 31):
        assert judge(FIFTH, 4, NOW + second, GRACE) == "repeat"
    assert judge(FIFTH, 4, NOW + 31, GRACE) == "reuse"


def test_advancing_begins_a_new_grace() -> None:
    """For the generation that was the newest, and for no other."""
    sixth = advanced(FIFTH, NOW + 300)
    assert sixth == State(6, NOW + 300)
    assert judge(sixth, 5, NOW + 330, GRACE) == "repeat"
    assert judge(sixth, 4, NOW + 300, GRACE) == "reuse"


@given(st.integers(1, 2**64 - 1), st.floats(allow_nan=False, allow_infinity=False))
def test_a_state_comes_back_from_the_store_as_it_was(generation: int, at: float) -> None:
    """To the last bit of the moment."""
    assert State.of(State(generation, at).packed()) == State(generation, at)


@pytest.mark.parametrize("data", [b"", b"\0" * 15, b"\0" * 17])
def test_other_bytes_are_no_state(data: bytes) -> None:
    """They are refused, not read as some generation."""
    with pytest.raises(ValueError, match="no state"):
        State.of(data)
    assert len(State(1, NOW).packed()) == struct.calcsize(">Qd")


class Family:
    """The server's side of a family. `use` is a request for a refresh."""

    def __init__(self) -> None:
        self.state = State(1, NOW)
        self.over = False

    def use(self, token: int, now: float) -> int | None:
        verdict = "ended" if self.over else judge(self.state, token, now, GRACE)
        if verdict == "advance":
            self.state = advanced(self.state, now)
        if verdict in ("advance", "repeat"):
            return self.state.generation
        self.over = True
        return None


@given(
    st.lists(st.tuples(st.floats(0, 1e6), st.lists(st.tuples(st.booleans(), st.floats(0, 10)), max_size=3)))
)
def test_an_honest_client_is_never_signed_out(history: list[tuple[float, list[tuple[bool, float]]]]) -> None:
    """However many tabs refresh at once and whichever responses are lost, if it asks again within the grace."""
    family, now, held = Family(), NOW, 1
    for pause, tabs in history:
        now += pause
        answers = []
        for arrived, later in [*tabs, (True, 0.0)]:
            now += later / (len(tabs) + 1)
            answer = family.use(held, now)
            assert answer is not None, "the family was ended"
            answers += [answer] if arrived else []
        assert len(set(answers)) == 1, (
            "two tabs hold different tokens, and one of them will be taken for a thief's"
        )
        held = answers[-1]


@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=5),
    st.floats(GRACE + 1, 1e6),
    st.booleans(),
)
def test_a_thief_and_the_owner_do_not_live_side_by_side(
    before: list[float], apart: float, thief_is_first: bool
) -> None:
    """Whoever of the two is first: once both have used the token, more than the grace apart, both are out.

    (VilnaCRM-Org/user-service#474: a grace that mints a token of its own hides the thief for ever.)
    """
    family, now, held = Family(), NOW, 1
    for pause in before:
        now += pause
        held = family.use(held, now) or 0
    stolen = held
    owner = thief = stolen
    if thief_is_first:
        thief = family.use(stolen, now) or 0
        assert family.use(owner, now + apart) is None
    else:
        owner = family.use(held, now) or 0
        assert family.use(stolen, now + apart) is None
    assert family.over
    assert family.use(owner, now + apart) is None
    assert family.use(thief, now + apart) is None


@given(st.lists(st.tuples(st.booleans(), st.floats(GRACE + 1, 1e5)), min_size=2, max_size=20))
def test_no_two_lines_grow_from_one_family(turns: list[tuple[bool, float]]) -> None:
    """Two holders of one token, in any order, always farther apart than the grace: the second kind of turn ends it."""
    family, now = Family(), NOW
    held: dict[bool, int | None] = {True: 1, False: 1}
    for who, pause in turns:
        now += pause
        held[who] = family.use(held[who] or 0, now) if held[who] else None
    if len({who for who, _ in turns}) == 2:
        assert family.over
