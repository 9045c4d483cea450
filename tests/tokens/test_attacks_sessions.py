"""The same attacks from outside, on `Sessions`: an anonymous session, no exception, no store asked, no cookie touched.

(Promise 5: forged, garbage, foreign or expired tokens cost no store access, never raise, never become a session.)
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from fuzz_targets import FORMATS

from holdfast import Event, Keyring, Session, Sessions, Token
from holdfast.testing import FakeClock

from recording import RecordingStore  # isort: skip

RING = Keyring.generate()
NAMES = sorted(FORMATS)
PUBLIC = {"name", "user"}


def token_of(name: str, **settings: Any) -> Token:
    chosen = FORMATS[name]
    public = PUBLIC if chosen.is_readable else ()
    return Token(chosen.format, algorithm=chosen.algorithm, text=chosen.text, public=public, **settings)


class Application:
    """Sessions of one format, with a store behind everything that may ask one."""

    def __init__(self, name: str, keys: Keyring = RING, **settings: Any) -> None:
        self.store, self.events = RecordingStore(), list[Event]()
        self.clock = settings.setdefault("clock", FakeClock())
        self.sessions = Sessions(
            token=token_of(name, revocation=self.store, spill=self.store, private={"secret"}),
            keys=keys,
            on_event=self.events.append,
            **settings,
        )

    def signed_in(self, user: str = "user-42") -> bytes:
        """The `Cookie` header of a browser that has just signed in."""
        session = self.sessions.open(None)
        session["name"] = user
        session.login(user)
        self.sessions.sync.commit(session)
        return cookies(session)

    def visit(self, cookie: bytes) -> Session:
        """A request that looks at its session and keeps nothing. Both colours."""
        sessions = []
        for colour in ("sync", "async"):
            session = self.sessions.open(cookie)
            if colour == "sync":
                self.sessions.sync.load(session)
            else:
                asyncio.run(self.sessions.load(session))
            session.get("name")
            self.sessions.sync.commit(session)
            sessions.append(session)
        assert sessions[0].is_new == sessions[1].is_new
        return sessions[0]


def cookies(session: Session) -> bytes:
    return b"; ".join(value.split(b";")[0] for name, value in session._outgoing() if name == b"set-cookie")


def assert_nobody(application: Application, cookie: bytes) -> None:
    """Whoever sends this is nobody, and nothing has happened."""
    application.store.taken()
    session = application.visit(cookie)
    assert session.is_new
    assert session.owner is None
    assert dict(session) == {}
    assert application.store.taken() == []
    assert session._outgoing() == [] or all(name != b"set-cookie" for name, _ in session._outgoing())


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_good_token_is_somebody(name: str) -> None:
    """What the attacks below are changes of."""
    application = Application(name)
    session = application.visit(application.signed_in())
    assert (session.owner, session["name"]) == ("user-42", "user-42")
    assert not session.is_new


def test_every_character_changed_is_nobody(name: str) -> None:
    """Of the whole `Cookie` header but the cookie's own name, without which it is no token of ours."""
    application = Application(name)
    cookie = application.signed_in()
    start = cookie.index(b"=") + 1
    step = 7 if "public" in name or "ES256" in name or "EdDSA" in name else 1
    for place in range(start, len(cookie), step):
        changed = bytearray(cookie)
        changed[place] ^= 0x05
        if bytes([changed[place]]) not in (b";", b" ", b"\t"):
            assert_nobody(application, bytes(changed))
    for place in range(start, len(cookie), 13):
        assert_nobody(application, cookie[:place])


GARBAGE: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda cookie: b"",
    "an empty value": lambda cookie: cookie.partition(b"=")[0] + b"=",
    "two of them": lambda cookie: cookie + b"; " + cookie,
    "zero bytes": lambda cookie: cookie.partition(b"=")[0] + b"=" + bytes(500),
    "every byte": lambda cookie: cookie.partition(b"=")[0] + b"=" + bytes(range(256)).replace(b";", b""),
    "very long": lambda cookie: cookie + b"A" * 1_000_000,
    "many cookies": lambda cookie: cookie.partition(b"=")[0] + b"-part1=x; " * 5000 + b"y=" + cookie,
    "dots": lambda cookie: cookie.partition(b"=")[0] + b"=" + b"." * 5000,
    "parts that are missing": lambda cookie: cookie.replace(b"=", b"=2.aaaaaa~", 1),
    "99 parts": lambda cookie: cookie.replace(b"=", b"=99.aaaaaa~", 1),
    "quoted": lambda cookie: cookie.replace(b"=", b'="', 1) + b'"',
    "another name": lambda cookie: b"other" + cookie,
    "a name in other letters": lambda cookie: cookie.replace(b"session", b"Session", 1),
    "percent-encoded": lambda cookie: cookie.replace(b".", b"%2E"),
}


@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage_is_nobody(name: str, garbage: str) -> None:
    """Whatever a client sends as its `Cookie` header."""
    application = Application(name)
    assert_nobody(application, GARBAGE[garbage](application.signed_in()))


def test_asvs_9_2_1_an_expired_token_is_nobody(name: str) -> None:
    """ASVS 9.2.1: after the idle and after the absolute timeout, with no store to ask."""
    application = Application(name)
    cookie = application.signed_in()
    application.clock.advance(30 * 60 + 1)
    assert_nobody(application, cookie)


def test_a_token_from_the_future_is_nobody(name: str) -> None:
    """A clock that ran ahead by more than is granted has made it."""
    application = Application(name)
    ahead = Application(name, clock=FakeClock(application.clock() + 3600))
    assert_nobody(application, ahead.signed_in())


def test_rfc_8725_3_8_a_token_of_another_application_is_nobody(name: str) -> None:
    """RFC 8725, 3.8: of one under the same keys with another cookie, and of one with the same cookie, other keys."""
    application = Application(name)
    other = Application(name, cookie_name="other").signed_in()
    assert_nobody(application, other.replace(b"other", b"session"))
    assert_nobody(application, Application(name, Keyring.generate()).signed_in())


def test_a_token_of_another_format_is_nobody(name: str) -> None:
    """An application that has changed its format signs its users out, and is not confused by what they hold."""
    application = Application(name)
    for other in NAMES:
        if other != name and {other, name} != {"jwe", "jwe json"}:
            assert_nobody(application, Application(other).signed_in())


def test_a_token_in_another_transport_is_nobody(name: str) -> None:
    """What was made for a cookie is nothing in a header, and the other way round."""
    by_cookie, by_header = Application(name), Application(name, transport="header")
    cookie = by_cookie.signed_in()
    carried = [(b"holdfast-session", cookie.partition(b"=")[2])]
    session = by_header.sessions.open(None, carried)
    by_header.sessions.sync.load(session)
    assert session.is_new
    assert by_header.store.taken() == []
    fresh = by_header.sessions.open(None, [])
    fresh["name"] = "Ada"
    by_header.sessions.sync.commit(fresh)
    token = dict(fresh._outgoing())[b"holdfast-session"]
    assert_nobody(by_cookie, cookie.partition(b"=")[0] + b"=" + token)


def test_an_access_token_is_no_session_and_a_session_no_access_token(name: str) -> None:
    """RFC 8725, 3.12: kinds of tokens do not pass for each other, under the same ring and settings."""
    by_cookie = Application(name)
    bearer = Sessions(
        token=token_of(name), keys=RING, cookie_name="session", transport="bearer", clock=by_cookie.clock
    )
    token = by_cookie.signed_in().partition(b"=")[2]
    session = bearer.open(None, [(b"authorization", b"Bearer " + token)])
    bearer.sync.load(session)
    assert session.is_new


def test_two_users_tokens_do_not_mix(name: str) -> None:
    """Ada's header with Bob's body, part by part, is nobody; each whole token is its user."""
    application = Application(name)
    ada, bob = application.signed_in("ada").split(b"."), application.signed_in("bob").split(b".")
    assert application.visit(b".".join(ada)).owner == "ada"
    assert application.visit(b".".join(bob)).owner == "bob"
    mixed = 0
    for place in range(1, len(ada)):
        both = [*ada[:place], bob[place], *ada[place + 1 :]]
        if both not in (ada, bob):
            assert_nobody(application, b".".join(both))
            mixed += 1
    assert mixed or name.startswith("paseto")  # which has one part alone that is of a user


def test_refusals_say_why_and_show_no_token(name: str) -> None:
    """The event names one of the fixed reasons, and nothing that the client has sent."""
    application = Application(name)
    cookie = application.signed_in()
    application.events.clear()
    changed = cookie[:-20] + (b"A" if cookie[-20:-19] != b"A" else b"B") + cookie[-19:]
    assert_nobody(application, Application(name, Keyring.generate()).signed_in())
    assert {event.detail for event in application.events if event.kind == "token refused"} == {"unknown key"}
    application.events.clear()
    assert_nobody(application, changed)
    for event in application.events:
        assert event.detail in ("bad mac", "bad signature", "header not allowed", "unknown key", "")
        assert cookie.partition(b"=")[2][:20].decode() not in repr(event)
