"""The cookie jar keeps, sends and forgets what a browser would."""

from __future__ import annotations

import pytest

from holdfast.lab.jar import Jar

NOW = 1_800_000_000.0
LOOPBACK = "http://127.0.0.1:8000"


def sent_after(*headers: str, origin: str = LOOPBACK, path: str = "/read", now: float = NOW) -> str | None:
    """What is sent to `path` after a response to `/read` has brought these headers."""
    jar = Jar(origin)
    jar.receive(headers, "/read", NOW)
    return jar.header(path, now)


def test_a_cookie_comes_back() -> None:
    """Name and value as they came, quotes included; attributes stay at home."""
    assert sent_after("a=1; Path=/; HttpOnly; SameSite=Lax", 'b="x y"; Path=/') == 'a=1; b="x y"'


def test_nothing_is_sent_where_there_is_nothing() -> None:
    """No cookie, no header."""
    assert sent_after() is None


def test_a_later_cookie_replaces_an_earlier_one() -> None:
    """In the order of arrival, whatever the order in which they were made."""
    assert sent_after("a=2; Path=/", "a=1; Path=/") == "a=1"


@pytest.mark.parametrize(
    "deletion",
    ["a=; Path=/; Max-Age=0", "a=; Path=/; Max-Age=-1", "a=x; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT"],
)
def test_deletion(deletion: str) -> None:
    """A cookie that is over takes the old one with it."""
    assert sent_after("a=1; Path=/", deletion) is None


def test_deletion_needs_the_same_path() -> None:
    """Another path is another cookie."""
    assert sent_after("a=1; Path=/", "a=; Path=/elsewhere; Max-Age=0") == "a=1"


def test_max_age() -> None:
    """It counts from the arrival, and goes before Expires."""
    cookie = "a=1; Path=/; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT"
    assert sent_after(cookie, now=NOW + 59) == "a=1"
    assert sent_after(cookie, now=NOW + 60) is None


def test_expires() -> None:
    """A date in the future keeps the cookie until then; one that cannot be read makes it a session cookie."""
    assert sent_after("a=1; Path=/; Expires=Fri, 15 Jan 2027 08:01:00 GMT", now=NOW + 59) == "a=1"
    assert sent_after("a=1; Path=/; Expires=Fri, 15 Jan 2027 08:01:00 GMT", now=NOW + 60) is None
    assert sent_after("a=1; Path=/; Expires=someday", now=NOW + 1e9) == "a=1"


@pytest.mark.parametrize(
    ("cookie_path", "path", "sent"),
    [
        ("/", "/read", True),
        ("/read", "/read", True),
        ("/read", "/read/more", True),
        ("/read", "/reading", False),
        ("/read/", "/read/more", True),
        ("/other", "/read", False),
    ],
)
def test_paths(cookie_path: str, path: str, sent: bool) -> None:
    """A cookie goes to its path and below."""
    assert (sent_after(f"a=1; Path={cookie_path}", path=path) == "a=1") is sent


def test_a_missing_path_is_that_of_the_response() -> None:
    """Up to its last slash."""
    jar = Jar(LOOPBACK)
    jar.receive(["a=1"], "/shop/read", NOW)
    assert jar.header("/shop/put", NOW) == "a=1"
    assert jar.header("/read", NOW) is None


def test_longer_paths_go_first() -> None:
    """As servers that look at the first of two expect."""
    assert sent_after("a=1; Path=/", "a=2; Path=/read") == "a=2; a=1"


@pytest.mark.parametrize(
    ("cookie", "kept"),
    [
        ("__Host-a=1; Path=/; Secure", True),
        ("__Host-a=1; Path=/", False),
        ("__Host-a=1; Secure", False),
        ("__Host-a=1; Path=/x; Secure", False),
        ("__Host-a=1; Path=/; Secure; Domain=127.0.0.1", False),
        ("__host-a=1; Path=/", False),
        ("__Secure-a=1; Path=/x; Secure", True),
        ("__Secure-a=1; Path=/", False),
    ],
)
def test_prefixes(cookie: str, kept: bool) -> None:
    """`__Host-` and `__Secure-` are promises that the browser holds the server to."""
    assert (sent_after(cookie, path="/x") is not None) is kept


@pytest.mark.parametrize(
    ("origin", "kept"),
    [
        (LOOPBACK, True),
        ("http://localhost:8000", True),
        ("http://[::1]:8000", True),
        ("https://shop.example", True),
        ("http://shop.example", False),
        ("http://192.0.2.1", False),
    ],
)
def test_secure_needs_a_trustworthy_origin(origin: str, kept: bool) -> None:
    """Loopback is trustworthy, another plain-http host is not."""
    assert (sent_after("a=1; Path=/; Secure", origin=origin) == "a=1") is kept


@pytest.mark.parametrize(
    ("domain", "kept"),
    [("shop.example", True), (".example", True), ("www.shop.example", False), ("b.example", False)],
)
def test_domains(domain: str, kept: bool) -> None:
    """A host speaks for itself and what is above it, never for another."""
    cookie = f"a=1; Path=/; Domain={domain}"
    assert (sent_after(cookie, origin="https://shop.example") == "a=1") is kept


def test_an_address_has_no_domain_above_it() -> None:
    """`0.0.1` is no parent of `127.0.0.1`."""
    assert sent_after("a=1; Path=/; Domain=0.0.1") is None


def test_size() -> None:
    """4,096 bytes of name and value are kept, one more is dropped without a word."""
    assert sent_after("a=" + "x" * 4095 + "; Path=/") is not None
    assert sent_after("a=" + "x" * 4096 + "; Path=/") is None


def test_same_site_none_needs_secure() -> None:
    """As all browsers ask by now."""
    assert sent_after("a=1; Path=/; SameSite=None") is None
    assert sent_after("a=1; Path=/; SameSite=None; Secure") == "a=1"


def test_what_is_no_cookie_is_left_aside() -> None:
    """And takes nothing else with it."""
    assert sent_after("\x00", "=", "", "a=1; Path=/") == "a=1"


def test_clear() -> None:
    """Everything is forgotten."""
    jar = Jar(LOOPBACK)
    jar.receive(["a=1; Path=/"], "/", NOW)
    jar.clear()
    assert jar.header("/", NOW) is None
