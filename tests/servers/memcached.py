"""Memcached."""

from __future__ import annotations

import getpass
from collections.abc import Iterator

import pytest

from .process import Server, free_port


class MemcachedServer(Server):
    """A memcached on the loopback interface. What it holds is gone when it ends."""

    def __init__(self, *, options: tuple[str, ...] = ()) -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.url = f"memcached://{self.address}"
        self._options = options

    _package, _greeting, _welcome = "memcached", b"version\r\n", (b"VERSION",)

    def _command(self) -> list[str]:
        place = ["-l", "127.0.0.1", "-p", str(self.port), "-U", "0", "-u", getpass.getuser()]
        return ["memcached", *place, "-t", "1", *self._options]


@pytest.fixture(scope="session")
def memcached_url() -> Iterator[str]:
    """The URL of a memcached that all tests share, which is not stopped meanwhile."""
    with MemcachedServer() as server:
        yield server.url


@pytest.fixture
def memcached_server() -> Iterator[MemcachedServer]:
    """A memcached for one test alone, which may stop, freeze and restart it. It forgets all when it does."""
    with MemcachedServer() as server:
        yield server
