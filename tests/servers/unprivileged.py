"""Servers that refuse to run as root: where the tests do, they are run by another user."""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from .process import Server, free_port


class Unprivileged(Server):
    """A server that refuses to run as root, with its files in a directory of its own, gone when it is left."""

    def __init__(self, name: str) -> None:
        self.port = free_port()
        self.directory = own_directory(name)
        self._log = self.directory / "server.log"

    def _shown(self, *command: str) -> list[str]:
        """The command with what it says written into the log."""
        return [*as_user(), "sh", "-c", 'exec "$@" >>"$0" 2>&1', str(self._log), *command]

    def _complaint(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        shutil.rmtree(self.directory, ignore_errors=True)


def as_user() -> list[str]:
    """What has to stand before a command that refuses to be run by root: it is run by somebody else then."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--reuid", _user(), "--regid", _group(), "--clear-groups", "--"]


@functools.cache
def _user() -> str:
    import pwd

    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return str(pwd.getpwnam(name).pw_uid)
    raise RuntimeError("there is neither a user postgres nor nobody to run PostgreSQL")


@functools.cache
def _group() -> str:
    import pwd

    return str(pwd.getpwuid(int(_user())).pw_gid)


def own_directory(name: str) -> Path:
    """A new directory that the server's user can reach and write: those of pytest are for root only."""
    directory = Path(tempfile.mkdtemp(prefix=f"holdfast-{name}-"))
    if os.geteuid() == 0:
        os.chown(directory, int(_user()), int(_group()))
    return directory
