"""Keys in a file that all instances can read: one a line, newest first."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from urllib.parse import unquote, urlsplit

from ..errors import ConfigError
from ..key import HOW
from . import KeysChanged, NoKeys, lines_of, text_of

REREAD_SECONDS = 5.0


class TextFile:
    """The file at `path`, as it was when it was last read. Where it is a link, the file is what it leads to."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._seen: tuple[int, int, int] | None = None

    def read(self) -> str | None:
        """The text, or None if time, size and inode are as they were. Raises `ConfigError`; `NoKeys` without a file."""
        try:
            seen = _seen(os.stat(self.path))
            if seen == self._seen:
                return None
            with open(self.path, "rb") as file:
                data = file.read()
        except FileNotFoundError:
            self._seen = None
            raise NoKeys(
                f"the key file {self.path} is missing; make it with: holdfast keys add {self.path}"
            ) from None
        except OSError as error:
            raise ConfigError(f"the key file {self.path} cannot be used ({error}); {HOW}") from error
        self._seen = seen
        return text_of(data, f"the key file {self.path} cannot be used: it")

    def forget(self) -> None:
        """Read it again next time, whether it has changed or not."""
        self._seen = None

    def write(self, text: str) -> None:
        """Replace the file whole, with the mode and owner that it has, or readable by its owner only.

        Raises `KeysChanged` if it is not the one that was read, or `ConfigError`.
        """
        target = os.path.realpath(self.path)
        try:
            with _alone(os.path.dirname(target)):
                present = os.stat(target) if os.path.exists(target) else None
                if (_seen(present) if present else None) != self._seen:
                    raise KeysChanged(f"somebody else has changed {self.path}: try again")
                draft = _draft(target, text, present)
                os.replace(draft, target)
        except OSError as error:
            raise ConfigError(f"the key file {self.path} cannot be written: {error}") from error
        self._seen = None


class KeyFile:
    """The keys in the file at `path`. It is read again within five seconds of its being changed."""

    every = REREAD_SECONDS
    remote = False

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._file = TextFile(path)

    @classmethod
    def from_url(cls, url: str) -> KeyFile:
        """The file of `file:///absolute/path`. Raises `ConfigError`."""
        parts = urlsplit(url)
        if parts.netloc or not parts.path.startswith("/"):
            raise ConfigError("write file:///absolute/path for a file of keys")
        return cls(unquote(parts.path))

    def read(self) -> list[str] | None:
        text = self._file.read()
        return None if text is None else lines_of(text)

    def write(self, keys: Sequence[str]) -> None:
        self._file.write("".join(f"{key}\n" for key in keys))


def make(path: str, secret: str) -> None:
    """Make the file whole under another name, then link it: nobody ever reads half of it, or a second key."""
    try:
        draft = _draft(path, f"{secret}\n", None)
        try:
            with suppress(FileExistsError):  # somebody else was first: theirs is the key
                os.link(draft, path)
        finally:
            os.unlink(draft)
    except OSError as error:
        raise ConfigError(f"the key file {path} cannot be used ({error}); {HOW}") from error


def _seen(state: os.stat_result) -> tuple[int, int, int]:
    return state.st_mtime_ns, state.st_size, state.st_ino


def _draft(path: str, text: str, like: os.stat_result | None) -> str:
    """A file beside the one at `path`, on the disk, with mode and owner `like` those, or its owner's only."""
    draft = f"{path}.{os.getpid()}.{secrets.token_hex(4)}"
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            if like is not None and hasattr(os, "fchown"):
                own = os.fstat(file.fileno())
                if (own.st_uid, own.st_gid) != (like.st_uid, like.st_gid):
                    os.fchown(file.fileno(), like.st_uid, like.st_gid)
                os.fchmod(file.fileno(), stat.S_IMODE(like.st_mode))
    except BaseException:
        os.unlink(draft)
        raise
    return draft


@contextmanager
def _alone(directory: str) -> Iterator[None]:
    """Keep other writers of this directory waiting, where the platform can."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
