"""The secrets that authenticate and seal what clients hold: several at once, so that they can be rotated.

One key makes tokens, every key of the ring opens them; adding a key and, a session's lifetime later, removing the
oldest one logs nobody out. What is done with them is in `derived`.

A ring may be read from a place that all instances share (`holdfast.keys`), and is looked at again from time to time.
A new key is for opening only until the moment that stands beside it, `SECRET@2026-11-23T20:00:00Z`: by then every
instance has it, so none meets a token under a key that it does not know.
"""

from __future__ import annotations

import os
import re
import secrets as random
import time
from collections.abc import Callable, Iterable, Mapping
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakSet

from .derived import MAC_BYTES, DerivedKeys, Marker
from .errors import ConfigError
from .key import HOW, KEY_ID_BYTES, MIN_SECRET_BYTES, Key, keys_of_secrets

if TYPE_CHECKING:
    from .keys import KeySource
    from .keys.watch import Watch

__all__ = ["KEY_ID_BYTES", "MAC_BYTES", "DerivedKeys", "Key", "Keyring", "Marker"]

# What no secret of ours begins with; a scheme is short, and may be shown in an error.
_URL = re.compile(r"[a-z][a-z0-9+.-]{1,23}://.*", re.DOTALL)
_NEVER = float("inf")

_RINGS: WeakSet[Keyring] = WeakSet()


class State(NamedTuple):
    """The ring at one time. It is replaced as a whole, so that threads see no half of it."""

    number: int  # what was derived from the keys of another state is out of date
    by_id: Mapping[bytes, Key]
    newest: Key
    choose_again_at: float  # when another key begins to make tokens (epoch)


class Keyring:
    """One or more secrets, newest first.

    A secret is text or bytes of at least 32 bytes that cannot be guessed, such as `holdfast keys new` prints; text
    may end in `@` and the UTC time from which it makes tokens. `source` is where they were read, if they are to be
    read again. `clock` returns seconds since the epoch.

    Raises `ConfigError` for an empty ring, or a secret that is too short or visibly not random.
    """

    def __init__(
        self,
        secrets: Iterable[str | bytes],
        *,
        clock: Callable[[], float] = time.time,
        source: KeySource | None = None,
    ) -> None:
        self._clock = clock
        self._lock = Lock()
        self.state = _chosen(0, keys_of_secrets(secrets), clock())
        self._watch: Watch | None = None
        if source is not None and source.every != _NEVER:
            from .keys.watch import Watch

            self._watch = Watch(source, self._replace, clock=clock)
        _RINGS.add(self)

    @staticmethod
    def new_secret() -> str:
        """A fresh secret of 256 random bits, as text for an environment variable or a key file."""
        return random.token_urlsafe(32)

    @classmethod
    def generate(cls) -> Keyring:
        """A ring of one fresh secret that nobody else has: for tests, and for one process on its own."""
        return cls([cls.new_secret()])

    @classmethod
    def from_url(cls, url: str) -> Keyring:
        """The ring in the place that a URL names; see `holdfast.keys`. Raises `ConfigError`."""
        from .keys import from_url, read_first

        source = from_url(url)
        return cls(read_first(source), source=source)

    @classmethod
    def from_env(cls, name: str = "HOLDFAST_KEYS") -> Keyring:
        """The keys in an environment variable, newest first, separated by commas or white space.

        The variable may also hold the URL of another place. Raises `ConfigError` if it is missing, or a key in it is
        unfit.
        """
        text = os.environ.get(name, "").strip()
        if not text:
            raise ConfigError(f"{name} is not set; {HOW}")
        return cls.from_url(text) if _URL.fullmatch(text) else cls(_apart(text))

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], *, create: bool = False) -> Keyring:
        """The keys in a file, newest first, one a line; empty lines and lines with `#` in front do not count.

        The file is read again when it changes. With `create`, a missing file is made with one fresh key, readable by
        its owner only; of several processes that try at once, one makes it and all read the same. Raises
        `ConfigError` if the file cannot be read or made, or a key in it is unfit.
        """
        from .keys.file import KeyFile, make

        if create and not os.path.exists(path):
            make(os.fspath(path), cls.new_secret())
        source = KeyFile(path)
        return cls(source.read() or [], source=source)

    @classmethod
    def of(cls, keys: Keyring | str | bytes | Iterable[str | bytes]) -> Keyring:
        """A keyring from whatever `Sessions(keys=…)` takes: a ring, a URL, one secret, or several, newest first.

        Several are a list, or a text as in an environment variable.
        """
        if isinstance(keys, Keyring):
            return keys
        if isinstance(keys, str) and _URL.fullmatch(keys):
            return cls.from_url(keys)
        if isinstance(keys, str) and max(map(len, parts := _apart(keys)), default=0) >= MIN_SECRET_BYTES:
            return cls(parts)  # a passphrase is a text, too, but its words are short
        return cls([keys] if isinstance(keys, str | bytes) else keys)

    @property
    def key_ids(self) -> list[str]:
        """The public ids of the keys, newest first, in hexadecimal digits."""
        return [key_id.hex() for key_id in self.state.by_id]

    @property
    def keys(self) -> list[Key]:
        """The keys, newest first."""
        self.look()
        return list(self.state.by_id.values())

    @property
    def newest(self) -> Key:
        """The key that tokens are made with."""
        self.look()
        return self.state.newest

    def marker(self, purpose: str) -> Marker:
        """What marks and checks tokens of one purpose, for example one kind of cookie of one application."""
        return Marker(self.derived(purpose))

    def derived(self, purpose: str) -> DerivedKeys:
        """The keys for one purpose."""
        return DerivedKeys(self, purpose)

    def look(self) -> int:
        """Bring the ring up to date, if it is time to; the number of its state. Quick, and never raises."""
        if self._watch is not None and self._watch.is_due():
            self._watch.look()
        state = self.state
        if state.choose_again_at != _NEVER and self._clock() >= state.choose_again_at:
            with self._lock:
                self.state = _chosen(self.state.number, self.state.by_id, self._clock())
        return self.state.number

    def seek(self) -> bool:
        """Whether the ring may have other keys now, after a token came whose key is unknown.

        An instance that nobody has used for long may not have heard of the key, and waits for news here, at most
        `watch.PATIENCE_SECONDS` and once for each time that it looks: for others, and forgers, there is no waiting.
        """
        return self._watch is not None and self._watch.wait()

    def __repr__(self) -> str:
        return f"Keyring(key_ids={self.key_ids})"

    def _replace(self, lines: Iterable[str]) -> None:
        """Go on with other keys. What cannot be a ring is left where it is: a typing error logs nobody out."""
        try:
            keys = keys_of_secrets(lines)
        except ConfigError as error:
            import logging

            logging.getLogger("holdfast").error("the keys are not replaced: %s", error)
            return
        with self._lock:
            if list(keys.items()) != list(self.state.by_id.items()):  # their order counts
                self.state = _chosen(self.state.number, keys, self._clock())

    def _after_fork(self) -> None:
        # Another thread of the parent may have held them, and is not here to let go.
        self._lock = Lock()
        if self._watch is not None:
            self._watch.after_fork()


def _apart(text: str) -> list[str]:
    """The keys of a text in which they stand beside each other."""
    return text.replace(",", " ").split()


def _chosen(number: int, keys: Mapping[bytes, Key], now: float) -> State:
    """The state after this one.

    Tokens are made with the first key whose time has come, or else with the one whose time comes first.
    """
    ready = [key for key in keys.values() if key.makes_from <= now]
    newest = ready[0] if ready else min(keys.values(), key=lambda key: key.makes_from)
    waiting = (key.makes_from for key in keys.values() if key.makes_from > now)
    return State(number + 1, keys, newest, min(waiting, default=_NEVER))


def _after_fork() -> None:
    for ring in list(_RINGS):
        ring._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
