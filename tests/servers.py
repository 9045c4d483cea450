"""Real servers for the tests, each on a free port of its own, started and ended by the test run itself."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType

_PATIENCE_SECONDS = 10.0


class RedisServer:
    """A redis-server on the loopback interface, with its files in `directory`.

    `durable`: it writes every change to disk before it answers, so that a restart finds all of them.
    `tls`: certificate and key with which it also serves `tls_url`, under the name localhost.
    """

    def __init__(
        self,
        directory: Path,
        *,
        durable: bool = False,
        tls: tuple[Path, Path] | None = None,
        options: tuple[str, ...] = (),
    ) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self._directory = directory
        self._options = ("--appendonly", "yes", "--appendfsync", "always") if durable else ()
        self._options += options
        if tls is not None:
            port = free_port()
            self.tls_url = f"rediss://localhost:{port}"
            certificate, key = map(str, tls)
            self._options += ("--tls-port", str(port), "--tls-auth-clients", "no")
            self._options += (
                "--tls-cert-file",
                certificate,
                "--tls-key-file",
                key,
                "--tls-ca-cert-file",
                certificate,
            )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and return when it answers. Raises RuntimeError if it cannot be started."""
        if shutil.which("redis-server") is None:
            raise RuntimeError("redis-server is not installed: apt-get install redis-server")
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        log = self._directory / "redis.log"
        self._process = subprocess.Popen(
            [*command, "--dir", str(self._directory), "--logfile", str(log), *self._options],
            stdin=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"redis-server does not start: {log.read_text() if log.exists() else ''}")
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
        """Let it accept connections and never answer."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def __enter__(self) -> RedisServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith((b"+PONG", b"-NOAUTH"))
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
        self._process.wait(_PATIENCE_SECONDS)
        self._process = None


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
