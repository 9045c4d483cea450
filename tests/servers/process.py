"""What the servers of the tests have in common: a process of their own, on the loopback interface."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from types import TracebackType
from typing import Self

PATIENCE_SECONDS = 10.0


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
        with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
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
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
