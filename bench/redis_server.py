"""A Redis server of the benchmark's own, and a count of the commands that it receives."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import redis


@contextmanager
def redis_server() -> Iterator[int]:
    """Run a `redis-server` that keeps nothing on disk, and yield its port on 127.0.0.1."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as place:
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", place]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            wait_until_up(server, port)
            yield port
        finally:
            server.terminate()
            server.wait(10)


def wait_until_up(server: subprocess.Popen[bytes], port: int) -> None:
    """Return once the server answers; raise RuntimeError if it ends, or has not answered after 10 s."""
    until = time.monotonic() + 10
    with redis.Redis(port=port) as client:
        while time.monotonic() < until and server.poll() is None:
            try:
                client.ping()
                return
            except redis.ConnectionError:
                time.sleep(0.02)
    raise RuntimeError("redis-server did not come up")


async def commands_received(port: int, request: Callable[[], Awaitable[object]], times: int = 10) -> float:
    """How many commands one request sends, on average.

    MONITOR tells what clients send from what a script does inside the server; INFO commandstats adds the
    two up.
    """
    with redis.Redis(port=port) as client, client.monitor() as monitor:
        for _ in range(times):
            await request()
        with redis.Redis(port=port) as marker:
            marker.echo("the last of them")
        sent = 0
        for seen in monitor.listen():
            if seen["command"] == "ECHO the last of them":
                return sent / times
            if seen["client_type"] != "lua" and not seen["command"].startswith(("CLIENT ", "HELLO ")):
                sent += 1
    raise RuntimeError("the monitor ended")
