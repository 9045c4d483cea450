"""PostgreSQL, with a replica, and PgBouncer in front of it."""

from __future__ import annotations

import atexit
import functools
import os
import re
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from holdfast._colour import run
from holdfast.stores.postgres import PostgresStore

from .process import PATIENCE_SECONDS
from .unprivileged import Unprivileged, as_user, own_directory


class PostgresServer(Unprivileged):
    """A PostgreSQL on the loopback interface, without passwords; `url` is that of its superuser.

    `durable`: it writes every change to disk before it answers, so that a crash of the machine loses none of them.
    """

    def __init__(self, *, durable: bool = False, options: tuple[str, ...] = ()) -> None:
        super().__init__("postgres")
        self.data = self.directory / "data"
        self.url = self.url_for("postgres")
        self._options = options
        if not durable:
            self._options += ("fsync=off", "synchronous_commit=off", "full_page_writes=off")

    def url_for(self, user: str) -> str:
        """The URL with which another role comes in."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it, and return when it takes changes. The first time its data is made."""
        if not self.data.exists():
            self._make_data()
        super().start()

    def stop(self) -> None:
        """End it in good order, without waiting for its clients to go."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End it at once with all of its processes, in the middle of whatever they do."""
        if self._process is None or self._process.poll() is not None:
            return super().kill()
        os.kill(self._process.pid, signal.SIGSTOP)  # so that it makes no further ones meanwhile
        children = self._children()
        super().kill()
        for child in children:
            _send(child, signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while any(map(_is_running, children)) and time.monotonic() < deadline:
            time.sleep(0.005)
        return None

    def freeze(self) -> None:
        """Stop it and the processes that serve its connections: all of them are open, and none answers."""
        super().freeze()
        for child in self._children():
            _send(child, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        for child in self._children():
            _send(child, signal.SIGCONT)
        super().thaw()

    def query(self, statement: str) -> list[Any]:
        """The rows that a statement returns, run by the superuser and committed."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    _package = "postgresql"

    def _command(self) -> list[str]:
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
        }
        options = [f"{name}={value}" for name, value in settings.items()] + list(self._options)
        flags = [part for option in options for part in ("-c", option)]
        return self._shown(_program("postgres"), "-D", str(self.data), *flags)

    def _make_data(self) -> None:
        subprocess.run([*as_user(), "cp", "-a", str(_template()), str(self.data)], check=True)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _children(self) -> list[int]:
        assert self._process is not None
        return [int(pid) for pid, parent, _ in _processes() if parent == str(self._process.pid)]


class PostgresReplica(PostgresServer):
    """A hot standby of `primary`, which is durable. It serves what it has, however old that is."""

    def __init__(self, primary: PostgresServer) -> None:
        super().__init__()
        self._primary = primary

    def start(self) -> None:
        """Start it, and return when it has all that the primary has."""
        super().start()
        try:
            self.catch_up()
        except BaseException:
            self.kill()
            raise

    def pause(self) -> None:
        """Let it hear of no more changes, but go on answering."""
        self.query("SELECT pg_wal_replay_pause()")
        self._wait_for("SELECT pg_get_wal_replay_pause_state() = 'paused'")

    def resume(self) -> None:
        """Let it follow the primary again, and return when it has caught up."""
        self.query("SELECT pg_wal_replay_resume()")
        self.catch_up()

    def catch_up(self) -> None:
        """Return when it has all that the primary has by now."""
        ((place,),) = self._primary.query("SELECT pg_current_wal_flush_lsn()")
        self._wait_for(f"SELECT pg_last_wal_replay_lsn() >= '{place}'")

    def _wait_for(self, question: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.query(question) != [(True,)]:
            assert time.monotonic() < deadline, f"the replica does not follow its primary: {question}"
            time.sleep(0.01)

    def _make_data(self) -> None:
        command = [_program("pg_basebackup"), "--checkpoint=fast", "--write-recovery-conf", "--no-sync"]
        source = ["-h", "127.0.0.1", "-p", str(self._primary.port), "-U", "postgres"]
        subprocess.run([*as_user(), *command, *source, "-D", str(self.data)], check=True)


class PgBouncer(Unprivileged):
    """A PgBouncer that hands each transaction to one of two connections to `server`, whichever is free."""

    def __init__(self, server: PostgresServer) -> None:
        super().__init__("pgbouncer")
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        self._server = server

    def start(self) -> None:
        """Start it, and return when a statement gets through."""
        users = self.directory / "users.txt"
        users.write_text('"postgres" ""\n')
        (self.directory / "pgbouncer.ini").write_text(
            f"""
            [databases]
            * = host=127.0.0.1 port={self._server.port}
            [pgbouncer]
            listen_addr = 127.0.0.1
            listen_port = {self.port}
            unix_socket_dir =
            auth_type = trust
            auth_file = {users}
            pool_mode = transaction
            default_pool_size = 2
            max_client_conn = 200
            """.replace("            ", "")
        )
        super().start()

    _package = "pgbouncer"

    def _command(self) -> list[str]:
        program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
        return self._shown(program or "pgbouncer", str(self.directory / "pgbouncer.ini"))

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self.url, autocommit=True, connect_timeout=2) as connection:
                connection.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True


def _program(name: str) -> str:
    """Where PostgreSQL's program is: in the newest version's folder on Debian, or on the path."""
    found = Path("/usr/lib/postgresql").glob(f"*/bin/{name}")
    newest = max(found, key=lambda path: [int(part) for part in re.findall(r"\d+", str(path))], default=None)
    place = str(newest) if newest is not None else shutil.which(name)
    if place is None:
        raise RuntimeError(f"{name} is not installed: apt-get install postgresql")
    return place


@functools.cache
def _template() -> Path:
    """An empty database, made once: to copy it takes a tenth of the time."""
    directory = own_directory("template")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    data = directory / "data"
    command = [_program("initdb"), "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C"]
    command += ["--wal-segsize=1"]  # the less there is to copy
    subprocess.run(
        [*as_user(), *command, "--no-sync", "-D", str(data)], check=True, stdout=subprocess.DEVNULL
    )
    return data


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _is_running(pid: int) -> bool:
    return any(other == str(pid) and state != "Z" for other, _, state in _processes())


def _processes() -> Iterator[tuple[str, str, str]]:
    """Number, parent and state of every process."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
            yield path.parent.name, parent, state


def provisioned(server: PostgresServer) -> PostgresServer:
    """The server, with the table that the store needs."""
    run(PostgresStore.from_url(server.url).provision(create=True))
    return server


def with_role(url: str, setting: str = "NOSUPERUSER") -> str:
    """The URL with a new role that may do all that the store does, with a setting of its own."""
    name = f"role_{secrets.token_hex(4)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN".encode())
        connection.execute(f"GRANT ALL ON holdfast_sessions TO {name}".encode())
        connection.execute(f"ALTER ROLE {name} {setting}".encode())
    return url.replace("postgres@", f"{name}@")


@pytest.fixture(scope="session")
def shared_postgres() -> Iterator[PostgresServer]:
    """The PostgreSQL that all tests share, with the store's table. It is not stopped meanwhile."""
    with PostgresServer() as server:
        yield provisioned(server)


@pytest.fixture(scope="session")
def postgres_url(shared_postgres: PostgresServer) -> str:
    """The URL of the PostgreSQL that all tests share, with the store's table."""
    return shared_postgres.url


@pytest.fixture(scope="session")
def pgbouncer_url(shared_postgres: PostgresServer) -> Iterator[str]:
    """The URL of a PgBouncer in transaction mode before the PostgreSQL that all tests share."""
    with PgBouncer(shared_postgres) as bouncer:
        yield bouncer.url


@pytest.fixture
def postgres_server() -> Iterator[PostgresServer]:
    """A durable PostgreSQL for one test alone, with the store's table: it may be stopped, frozen and killed."""
    with PostgresServer(durable=True) as server:
        yield provisioned(server)


@pytest.fixture
def postgres_replica(postgres_server: PostgresServer) -> Iterator[PostgresReplica]:
    """A replica of `postgres_server`, for one test alone, which may pause its replication."""
    with PostgresReplica(postgres_server) as replica:
        yield replica
