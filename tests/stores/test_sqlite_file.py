"""A file that SQLite cannot use is refused at construction, with what to do about it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import threading
from pathlib import Path

import pytest
from records import new_key, new_record

from holdfast._colour import run
from holdfast.errors import ConfigError
from holdfast.stores import _sqlite_file, from_url
from holdfast.stores.sqlite import SQLiteStore


def test_a_directory_that_does_not_exist(tmp_path: Path) -> None:
    """The text says that the directory has to be made."""
    with pytest.raises(ConfigError, match="directory does not exist, make it"):
        SQLiteStore(tmp_path / "missing" / "s.db")


def test_a_path_that_is_a_directory(tmp_path: Path) -> None:
    """The text says that a file in it has to be named."""
    with pytest.raises(ConfigError, match="is a directory: name a file"):
        SQLiteStore(tmp_path)


def test_a_file_that_is_not_a_database(tmp_path: Path) -> None:
    """The text says to choose another file, and the file stays as it was."""
    (tmp_path / "notes.txt").write_text("not a database, but long enough to look at" * 100)
    with pytest.raises(ConfigError, match="give Holdfast a file of its own"):
        SQLiteStore(tmp_path / "notes.txt")
    assert (tmp_path / "notes.txt").read_text().startswith("not a database")


def test_the_database_of_another_application(tmp_path: Path) -> None:
    """No table is put into somebody else's database."""
    with sqlite3.connect(tmp_path / "app.db") as connection:
        connection.execute("CREATE TABLE users (id INTEGER)")
    connection.close()
    with pytest.raises(ConfigError, match="another application"):
        SQLiteStore(tmp_path / "app.db")
    connection = sqlite3.connect(tmp_path / "app.db")
    assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == [("users",)]
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    connection.close()


def test_tables_of_another_version(tmp_path: Path) -> None:
    """A file that a later Holdfast has made is not written to."""
    SQLiteStore(tmp_path / "s.db").close()
    with sqlite3.connect(tmp_path / "s.db") as connection:
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(ConfigError, match="tables of version 2, this Holdfast knows version 1"):
        SQLiteStore(tmp_path / "s.db")


def test_a_process_starts_while_another_one_writes(tmp_path: Path) -> None:
    """However long that takes: a file that is as it should be is opened without waiting for whoever has its lock."""
    path = tmp_path / "s.db"
    SQLiteStore(path).close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    other.execute("DELETE FROM sessions")
    store = SQLiteStore(path, timeout=0.05)
    assert run(store.load(new_key())) is None
    other.execute("COMMIT")
    assert run(store.create(new_key(), new_record()))
    other.close()
    store.close()


@pytest.mark.parametrize("what", ["file", "directory"])
def test_what_cannot_be_written(what: str) -> None:
    """A file or a directory without write permission is refused, and the text names the remedy."""
    directory = Path(tempfile.mkdtemp())
    try:
        path = directory / "s.db"
        SQLiteStore(path).close()
        path.chmod(0o444 if what == "file" else 0o666)
        directory.chmod(0o777 if what == "file" else 0o555)
        answer = as_nobody(lambda: SQLiteStore(path))
    finally:
        directory.chmod(0o700)
        shutil.rmtree(directory)
    assert answer.startswith("ConfigError")
    assert "let this user" in answer


def test_a_file_that_cannot_be_made() -> None:
    """A directory without write permission in which there is no file yet is refused as well."""
    directory = Path(tempfile.mkdtemp())
    try:
        directory.chmod(0o555)
        answer = as_nobody(lambda: SQLiteStore(directory / "s.db"))
    finally:
        directory.rmdir()
    assert answer.startswith("ConfigError")
    assert "cannot be made" in answer


@pytest.mark.parametrize(
    "name", ["100%25.db", "what?mode=memory", "#1.db", "a b\\c.db", "séance.db", "../s.db"]
)
def test_any_name_is_that_of_the_file(tmp_path: Path, name: str) -> None:
    """What means something in SQLite's own URIs is a part of the name, and nothing else."""
    directory = tmp_path / "in"
    directory.mkdir()
    store, key = SQLiteStore(directory / name), new_key()
    run(store.create(key, new_record()))
    connection = sqlite3.connect(directory / name)
    assert connection.execute("SELECT key FROM sessions").fetchall() == [(key,)]
    connection.close()
    found = {path.name for path in [*tmp_path.iterdir(), *directory.iterdir()]} - {"in"}
    assert {text.removesuffix("-wal").removesuffix("-shm") for text in found} == {Path(name).name}


def test_the_log_is_turned_on_despite_another_instance_that_starts(tmp_path: Path) -> None:
    """SQLite does not wait for the lock that this takes where another process is making the tables; we do."""
    path = tmp_path / "s.db"
    holder = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    holder.execute("CREATE TABLE sessions (key TEXT)")
    holder.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.2, lambda: holder.execute("COMMIT"))
    release.start()
    connection = _sqlite_file.connect(str(path), 60)
    _sqlite_file.keep_log(connection, str(path), 60)
    release.join()
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()
    holder.close()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlite://sessions.db", "sqlite:///relative.db"),
        ("sqlite://", "sqlite:///relative.db"),
        ("sqlite:///:memory:", "memory://"),
        ("sqlite:///s.db?mode=rw", "unknown option mode"),
        ("sqlite:///s.db?timeout=soon", "timeout='soon'"),
        ("sqlite:///s.db?timeout=0", "timeout=0"),
        ("sqlite:///s.db?timeout=inf", "timeout=inf"),
        ("sqlite:///s.db?timeout=1&timeout=2", "timeout twice"),
        ("sqlite:///s.db?synchronous=off", "synchronous='off'"),
    ],
)
def test_a_url_that_cannot_be_meant(
    url: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong URL is an error at construction, and makes no file."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as refusal:
        from_url(url)
    assert says in str(refusal.value)
    assert not list(tmp_path.iterdir())


def test_options_of_the_url(tmp_path: Path) -> None:
    """Both options are accepted as documented."""
    from_url(f"sqlite:///{tmp_path}/s.db?timeout=1.5&synchronous=normal")
    assert (tmp_path / "s.db").exists()


def as_nobody(act) -> str:
    """What `act` raises in a child process without root's rights, as text."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setgid(65534)
                os.setuid(65534)
            act()
            answer = "nothing"
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}"
        os.write(writing, answer.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return answer
