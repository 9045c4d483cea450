"""An instance as the platform sees it: a process with a port, a state, and requests in flight."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import IO

from ..events import WARNINGS
from .instance import LIFELINE, LISTENER, STRATEGY
from .strategies import Strategy

BACKLOG = 512


class Instance:
    """A child process that runs the shop. Whoever starts one awaits `ended`, or calls `destroy`.

    `in_flight` is kept by the front door. `ready`: it serves. `draining`: it has been told to go and gets no
    new request. `frozen`: it stands still. `killed`: SIGKILL was sent to it.
    """

    def __init__(
        self, name: str, port: int, process: subprocess.Popen[bytes], lifeline: socket.socket, log: IO[bytes]
    ) -> None:
        self.name = name
        self.port = port
        self.in_flight = 0
        self.ready = False
        self.draining = False
        self.frozen = False
        self.killed = False
        self._process = process
        self._lifeline = lifeline
        self._log = log
        self._output = ""

    @classmethod
    def start(cls, name: str, strategy: Strategy, environ: Mapping[str, str]) -> Instance:
        """Start a process. Returns before it serves."""
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(BACKLOG)
            lifeline, childs_end = socket.socketpair()
            log = tempfile.TemporaryFile()  # noqa: SIM115 - kept until the end; has no name to be left behind
            with childs_end:
                inherited = (listener.fileno(), childs_end.fileno())
                environment = {
                    **environ,
                    STRATEGY: json.dumps(strategy._asdict()),
                    LISTENER: str(inherited[0]),
                    LIFELINE: str(inherited[1]),
                }
                try:
                    process = subprocess.Popen(  # noqa: S603 - this interpreter, and a name made here
                        [sys.executable, "-P", "-m", "holdfast.lab.instance", name],
                        env=environment,
                        pass_fds=inherited,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        # A group of its own: Ctrl-C is for the platform, which then ends its children.
                        process_group=0,
                    )
                except BaseException:
                    lifeline.close()
                    log.close()
                    raise
            lifeline.setblocking(False)
            return cls(name, listener.getsockname()[1], process, lifeline, log)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def exit_status(self) -> int | None:
        """As `subprocess` has it: negative for a signal, None while it runs."""
        return self._process.returncode

    @property
    def output(self) -> str:
        """What the process wrote, to standard output and standard error. Known once it has ended."""
        return self._output

    @property
    def warnings(self) -> dict[str, int]:
        """How often the process has logged a warning of each kind of Holdfast's events. Known once it has ended."""
        lines = self._output.splitlines()
        return {kind: sum(line.startswith(f"{kind} ") for line in lines) for kind in sorted(WARNINGS)}

    async def serving(self) -> bool:
        """Wait for the end of the cold start. False if the process died before."""
        self.ready = bool(await asyncio.get_running_loop().sock_recv(self._lifeline, 64))
        return self.ready

    async def ended(self) -> None:
        """Wait for the process to die, and reap it."""
        # The kernel closes a dead process's end of the lifeline just before the process can be reaped.
        while await asyncio.get_running_loop().sock_recv(self._lifeline, 64):
            pass
        while self._process.poll() is None:  # noqa: ASYNC110 - nothing tells of the instant between
            await asyncio.sleep(0.001)
        self._lifeline.close()
        with self._log:
            self._log.seek(0)
            self._output = self._log.read().decode(errors="replace").strip()

    def freeze(self) -> None:
        """SIGSTOP: it keeps its connections and does nothing."""
        self.frozen = True
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT: it goes on as if nothing had been."""
        self.frozen = False
        self._process.send_signal(signal.SIGCONT)

    def terminate(self) -> None:
        """SIGTERM: it finishes the requests that it has, then ends."""
        self.draining = True
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL: it ends where it stands."""
        self.killed = True
        self._process.kill()

    def destroy(self) -> None:
        """Kill and reap it at once, without a loop: the last resort of a way out."""
        self._process.kill()
        self._process.wait()
        self._lifeline.close()
        self._log.close()


def instance_environ(extra: Mapping[str, str]) -> dict[str, str]:
    """The environment of instances: this process's, without its own Holdfast settings, and `extra` on top."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HOLDFAST_")}
    return {**kept, **extra}
