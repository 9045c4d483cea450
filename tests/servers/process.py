"""What the servers of the tests have in common: a process of their own, on the loopback interface."""

from __future__ import annotations

import functools
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self

# How long anything may take that is to happen at all, however slow and busy the machine is.
PATIENCE_SECONDS = 60.0

# What such a machine may add to a time limit. Whatever does not keep to its limit takes far longer, or hangs.
BUSY_SECONDS = 10.0

# Servers listen below the ports that the system hands out to whoever connects: none of those may take a server's
# port between the moment it is chosen and the moment the server has it, or while a server is being restarted.
_PORTS = range(20_000, 32_000)


class Server:
    """A server of its own process on the loopback interface: started, frozen and ended by whoever made it."""

    port: int
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and return when it answers. Raises RuntimeError if it cannot be started."""
        command, package = self._command(), self._package
        if shutil.which(command[0]) is None:
            raise RuntimeError(f"{command[0]} is not installed: apt-get install {package}")
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"{command[0]} does not start: {self._complaint()}")
            time.sleep(0.01)

    def stop(self) -> None:
        """End it in good order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, in the middle of whatever it does."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop it, and start it again on the same port."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Let it accept connections and never answer. Returns when it has stopped."""
        self._signal(signal.SIGSTOP)
        assert self._process is not None
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def ask(self, request: bytes) -> bytes:
        """What it answers to a request, the beginning at least. Raises OSError if it does not."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_SECONDS / 4) as connection:
            connection.sendall(request)
            return connection.recv(65536)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    _package: str
    _greeting: bytes
    _welcome: tuple[bytes, ...]

    def _command(self) -> list[str]:
        raise RuntimeError("a server says how it is started")

    def _complaint(self) -> str:
        return ""

    def _answers(self) -> bool:
        try:
            return self.ask(self._greeting).startswith(self._welcome)
        except OSError:
            return False

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._signal(number)
            self._signal(signal.SIGCONT)
        self._process.wait(PATIENCE_SECONDS)
        self._process = None


def free_port() -> int:
    """A port that nobody listens on, and that is given to nobody else in this run of the tests."""
    return next(_free_ports())


@functools.cache
def _free_ports() -> Iterator[int]:
    """The free ones of this worker's share of the ports, one after the other, from a place by chance."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    share = _PORTS[worker :: int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))]
    begin = random.SystemRandom().randrange(len(share))
    return filter(_is_free, itertools.cycle([*share[begin:], *share[:begin]]))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
