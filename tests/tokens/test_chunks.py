"""A token in one cookie or several: to the byte, and never two tokens taken for one."""

from __future__ import annotations

import random

import pytest

from holdfast import BadToken, Keyring
from holdfast.cookies import Cookies
from holdfast.tokens.chunks import MOST_PARTS, TokenCookies

KEYS = Keyring.generate()
LIMIT = 4096  # bytes that a browser takes


def cookies(name: str = "session", **settings: bool) -> TokenCookies:
    return TokenCookies(Cookies(KEYS, name, **{"insecure_http": False, **settings}))


def lines(carrier: TokenCookies, length: int, max_age: float = 1800, had: tuple[int, ...] = ()) -> list[str]:
    """The Set-Cookie lines of a token of so many characters."""
    return [line.decode() for _, line in carrier.write(token_of(length), max_age=max_age, had=had)]


LETTERS = bytes(random.Random(7).choices(b"ABCxyz019-_.", k=70_000))


def token_of(length: int) -> bytes:
    return LETTERS[:length]


def header_of(lines: list[str]) -> bytes:
    return "; ".join(line.partition(";")[0] for line in lines).encode()


def longest_in_one(carrier: TokenCookies) -> int:
    """The length of the longest token that goes into one cookie."""
    return LIMIT - len(carrier._line(carrier._cookies.name, "", 10**9)[1])


NAMES = ["session", "s", "n" * 57, "__session"]


class TestTheLimit:
    """No line is longer than a browser takes, however long its name is and however long it lives."""

    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("size", [4095, 4096, 4097])
    def test_the_exact_boundary(self, name: str, size: int) -> None:
        """A line of 4,095 or 4,096 bytes is one cookie, and what would be 4,097 is two."""
        carrier = cookies(name)
        length = longest_in_one(carrier) + size - LIMIT
        made = lines(carrier, length, max_age=10**9)
        assert len(made) == (1 if size <= LIMIT else 2)
        if size <= LIMIT:
            assert len(made[0]) == size
        assert all(len(line) <= LIMIT for line in made)
        assert carrier.read(header_of(made)).token == token_of(length)

    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("max_age", [1, 1800, 10**9, 10**15])
    def test_around_every_boundary(self, name: str, max_age: float) -> None:
        """From one part to sixteen, a byte before and after each step: every part fits, and all come back as one."""
        carrier = cookies(name)
        one, room = longest_in_one(carrier), carrier._room
        lengths = {1, one - 1, one, one + 1}
        lengths.update(count * room + step for count in range(2, MOST_PARTS) for step in (-1, 0, 1))
        lengths.add(MOST_PARTS * room)
        for length in lengths:
            made = lines(carrier, length, max_age)
            assert max(map(len, made)) <= LIMIT
            assert all(line.partition("=")[2].partition(";")[0] for line in made)
            sent = carrier.read(header_of(made))
            assert sent == (token_of(length), len(made))

    @pytest.mark.parametrize("name", NAMES)
    def test_a_full_part_is_full(self, name: str) -> None:
        """Room is not given away: the largest part of a long life is short of 4,096 by what its number may take."""
        carrier = cookies(name)
        made = lines(carrier, carrier._room * 12, max_age=10**9)
        assert LIMIT - 8 <= max(map(len, made)) <= LIMIT

    @pytest.mark.parametrize("name", NAMES)
    def test_the_budget_counts_what_a_request_carries(self, name: str) -> None:
        """Names, equal signs and separators of all parts: to the byte what stands in the `Cookie` header."""
        carrier = cookies(name)
        for length in (1, 500, longest_in_one(carrier), longest_in_one(carrier) + 1, 20_000, 50_000):
            header = header_of(lines(carrier, length)) + b"; "
            assert carrier.sent_size(token_of(length)) == len(header)

    @pytest.mark.parametrize("name", NAMES)
    def test_no_budget_takes_more_parts_than_are_read(self, name: str) -> None:
        """60,000 bytes, the most that can be allowed, are sixteen parts at the most."""
        carrier = cookies(name)
        length = 60_000
        while carrier.sent_size(token_of(length)) > 60_000:
            length -= 1
        assert len(lines(carrier, length)) <= MOST_PARTS

    def test_one_cookie_only(self) -> None:
        """Where a host passes no other cookie, the budget ends with the first."""
        carrier = cookies("__session")
        assert carrier.most == len("__session=; ") + longest_in_one(carrier)
        assert cookies().most > 60_000


class TestReading:
    """What does not belong together is nothing, and says why."""

    carrier = cookies()
    made = lines(carrier, 10_000)
    parts = tuple(line.partition(";")[0] for line in made)

    def read(self, *parts: str) -> bytes | None:
        sent = self.carrier.read("; ".join(parts).encode())
        return sent.token if sent is not None else None

    def test_in_any_order_and_among_others(self) -> None:
        """Browsers send cookies in an order of their own, between those of others."""
        for seed in range(20):
            mixed = [
                *self.parts,
                "theme=dark",
                "__Host-session-floor=x",
                "session=other",
                "a-__Host-session=b",
            ]
            random.Random(seed).shuffle(mixed)
            assert self.read(*mixed) == token_of(10_000)

    def test_each_part_is_needed(self) -> None:
        """One missing: torn; the first missing: no token at all."""
        assert self.read(*self.parts[1:]) is None
        for place in range(1, len(self.parts)):
            with pytest.raises(BadToken, match="torn"):
                self.read(*self.parts[:place], *self.parts[place + 1 :])

    def test_parts_of_two_tokens(self) -> None:
        """Any mixture of two tokens of the same length is torn, not taken for one."""
        other = [line.partition(";")[0] for line in lines(self.carrier, 10_000)]
        for choice in range(1, 2 ** len(self.parts) - 1):
            mixed = [(self.parts, other)[choice >> place & 1][place] for place in range(len(self.parts))]
            with pytest.raises(BadToken, match="torn"):
                self.read(*mixed)

    def test_parts_in_each_others_place(self) -> None:
        """Swapped, they make another token, which its seal refuses; the names say which is which."""
        first, second, third = (part.partition("=")[2] for part in self.parts)
        names = [part.partition("=")[0] for part in self.parts]
        assert self.read(f"{names[0]}={first}", f"{names[1]}={third}", f"{names[2]}={second}") != token_of(
            10_000
        )
        with pytest.raises(BadToken):
            self.read(f"{names[0]}={second}", f"{names[1]}={first}", f"{names[2]}={third}")

    def test_the_same_part_twice(self) -> None:
        """No rule tells which one was planted."""
        for part in self.parts:
            with pytest.raises(BadToken, match="duplicated"):
                self.read(*self.parts, part)
        with pytest.raises(BadToken, match="duplicated"):
            self.read("__Host-session=a", "__Host-session=b")

    def test_left_over_parts_mean_nothing(self) -> None:
        """Of a longer token before, in a shorter one after."""
        assert self.read("__Host-session=token", *self.parts[1:]) == b"token"
        shorter = [line.partition(";")[0] for line in lines(self.carrier, 7_000)]
        assert self.read(*shorter, *self.parts[2:]) == token_of(7_000)

    @pytest.mark.parametrize(
        "first",
        [
            "0.abcdef~x",
            "1.abcdef~x",
            "17.abcdef~x",
            "99.abcdef~x",
            "2.ABCDEF~x",
            "2.abcdef~",
            "~",
            "2~x",
            "x~y~z",
        ],
    )
    def test_a_first_part_that_we_never_wrote(self, first: str) -> None:
        """Refused by its form."""
        with pytest.raises(BadToken, match="malformed"):
            self.read(f"__Host-session={first}")

    @pytest.mark.parametrize("name", ["-part0", "-part01", "-part100", "-partx", "-PART1", "_part1"])
    def test_other_names_are_others_cookies(self, name: str) -> None:
        """Only the names that we write are read."""
        header = f"__Host-session{name}=x".encode()
        assert self.carrier.read(header) is None
        assert self.carrier.beside(header) == ([], len(header))


class TestClearing:
    """Growing and shrinking leave nothing behind, and clear nothing that is not there."""

    carrier = cookies()

    def names(self, made: list[str]) -> tuple[list[str], list[str]]:
        """The cookies that are set, and those that are cleared."""
        cleared = [line.partition("=")[0] for line in made if "Max-Age=0;" in line]
        return [name for line in made if (name := line.partition("=")[0]) not in cleared], cleared

    def test_shrinking_clears_what_the_browser_has(self) -> None:
        """Exactly those: also one that an accident has left alone."""
        name = "__Host-session"
        assert self.names(lines(self.carrier, 100, had=(0, 1, 2))) == (
            [name],
            [f"{name}-part1", f"{name}-part2"],
        )
        assert self.names(lines(self.carrier, 7_000, had=(0, 1, 5))) == (
            [name, f"{name}-part1"],
            [f"{name}-part5"],
        )
        assert self.names(lines(self.carrier, 100, had=())) == ([name], [])

    def test_growing_clears_nothing(self) -> None:
        """The new parts replace the old ones."""
        assert self.names(lines(self.carrier, 10_000, had=(0, 1)))[1] == []

    def test_logout_clears_everything_once(self) -> None:
        """The first part always: a browser that sent none may hold one by now."""
        cleared = [line.decode().partition("=")[0] for _, line in self.carrier.clear((0, 1))]
        assert cleared == ["__Host-session", "__Host-session-part1"]
        assert len(self.carrier.clear(())) == 1

    def test_cleared_lines_look_like_the_set_ones(self) -> None:
        """A browser only forgets a `__Host-` cookie by a line with its attributes."""
        (_, line) = self.carrier.clear(())[0]
        assert line == b"__Host-session=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax; Secure"

    def test_what_is_beside_a_token_is_counted(self) -> None:
        """Parts by number, good or not; and the bytes of all other cookies."""
        assert self.carrier.beside(b"a=1; __Host-session=bad; __Host-session-part3=x; b=2") == (
            [0, 3],
            len("a=1") + len("; b=2"),
        )
        hostile = b"; ".join(b"__Host-session-part%d=x" % number for number in range(1, 100))
        assert len(self.carrier.beside(hostile).parts) == MOST_PARTS - 1  # no answer of a hundred lines


class TestHostileHeaders:
    """What a client may send costs little, whatever it is."""

    def test_a_header_longer_than_servers_take_is_not_looked_through(self) -> None:
        """A megabyte of separators would cost as much as a thousand good requests."""
        carrier = cookies(insecure_http=True)
        for header in (b";" * 2**20 + b"session=x", b"session=x" + b"; " * 2**19, b"session=" + b"x" * 2**20):
            with pytest.raises(BadToken) as refusal:
                carrier.read(header)
            assert refusal.value.reason == "too large"

    def test_the_first_cookie_that_comes_twice_ends_the_search(self) -> None:
        """Nothing behind it is looked at."""
        carrier = cookies(insecure_http=True)
        looked_at: list[object] = []

        class Pairs:
            def finditer(self, header: bytes) -> object:
                for pair in found.finditer(header):
                    looked_at.append(pair)
                    yield pair

        found = carrier._pair
        carrier._pair = Pairs()  # type: ignore[assignment]  # counts what is looked at
        with pytest.raises(BadToken) as refusal:
            carrier.read(b"session=a; session=b; " + b"session=c; " * 5_000)
        assert refusal.value.reason == "duplicated"
        assert len(looked_at) == 2
