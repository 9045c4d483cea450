"""Real servers for the tests, each on a free port of its own, started and ended by the test run itself."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

_PATIENCE_SECONDS = 10.0


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
        deadline = time.monotonic() + _PATIENCE_SECONDS
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
        self._process.wait(_PATIENCE_SECONDS)
        self._process = None


class RedisServer(Server):
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
        self._log = directory / "redis.log"

    _package, _greeting, _welcome = "redis-server", b"PING\r\n", (b"+PONG", b"-NOAUTH")

    def _command(self) -> list[str]:
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        command += ["--repl-diskless-sync-delay", "0"]  # a replica need not wait for others to come
        return [*command, "--dir", str(self._directory), "--logfile", str(self._log), *self._options]

    def _complaint(self) -> str:
        return self._log.read_text() if self._log.exists() else ""


class RedisReplica(RedisServer):
    """A replica of `primary`. It serves what it has, however old that is."""

    def __init__(self, directory: Path, primary: RedisServer) -> None:
        super().__init__(directory, options=("--replicaof", f"127.0.0.1 {primary.port}"))
        self._primary = primary

    def start(self) -> None:
        """Start it, and return when it has all that the primary has."""
        super().start()
        self._catch_up()

    def pause(self) -> None:
        """Cut it off: from now on it does not hear of changes."""
        assert self.ask(b"REPLICAOF NO ONE\r\n").startswith(b"+OK")

    def resume(self) -> None:
        """Let it follow the primary again, and return when it has caught up."""
        assert self.ask(b"REPLICAOF 127.0.0.1 %d\r\n" % self._primary.port).startswith(b"+OK")
        self._catch_up()

    def _catch_up(self) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while b"master_link_status:up" not in self.ask(b"INFO replication\r\n"):
            assert time.monotonic() < deadline, "the replica does not follow its primary"
            time.sleep(0.02)


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


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
