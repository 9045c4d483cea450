"""Keys in a file: how it is rewritten, who may read it, and two who write at once."""

from __future__ import annotations

import multiprocessing
import os
import stat
from pathlib import Path

import pytest

from holdfast import ConfigError, Keyring
from holdfast.cli import main
from holdfast.keys import KeysChanged, NoKeys, from_url
from holdfast.keys.file import KeyFile

A, B, C = (Keyring.new_secret() for _ in range(3))


def rewrite(path: Path, *keys: str) -> None:
    source = KeyFile(path)
    source.read()
    source.write(keys)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o400])
def test_a_rewritten_file_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    """Whoever could read it can read it still, and nobody else."""
    path = tmp_path / "keys"
    path.write_text(f"{A}\n")
    path.chmod(mode)
    rewrite(path, B, A)
    assert path.stat().st_mode & 0o7777 == mode
    assert path.read_text() == f"{B}\n{A}\n"
    assert os.listdir(tmp_path) == ["keys"]


def test_a_new_file_is_its_owners_only(tmp_path: Path) -> None:
    """Whatever the umask says."""
    before = os.umask(0)
    try:
        KeyFile(tmp_path / "keys").write([A])
    finally:
        os.umask(before)
    assert (tmp_path / "keys").stat().st_mode & 0o7777 == 0o600


def test_a_rewritten_file_keeps_its_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator who is root does not take the file from the application; who cannot give it back, does not write."""
    path = tmp_path / "keys"
    path.write_text(f"{A}\n")
    given: list[tuple[int, int]] = []
    whole = os.stat

    def of_another(place: str | int, **about: object) -> os.stat_result:
        found = list(whole(place, **about))  # type: ignore[call-overload]  # handed on as it came
        found[stat.ST_UID], found[stat.ST_GID] = 4711, 4712
        return os.stat_result(found)

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", of_another)
        patch.setattr(os, "fchown", lambda handle, user, group: given.append((user, group)))
        rewrite(path, B)
    assert given == [(4711, 4712)]

    def refuse(handle: int, user: int, group: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", of_another)
        patch.setattr(os, "fchown", refuse)
        with pytest.raises(ConfigError, match="not permitted"):
            rewrite(path, C)
    assert path.read_text() == f"{B}\n"


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """What it leads to is rewritten; and a link that is turned to another file is a change (as Kubernetes does)."""
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text(f"{A}\n")
    link.symlink_to(real)
    rewrite(link, B)
    assert link.is_symlink()
    assert real.read_text() == f"{B}\n"
    source = KeyFile(link)
    assert source.read() == [B]
    assert source.read() is None
    (tmp_path / "next").write_text(f"{C}\n")
    (tmp_path / "turned").symlink_to(tmp_path / "next")
    os.replace(tmp_path / "turned", link)
    assert source.read() == [C]


def test_a_reader_never_sees_half_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails in the middle leaves the keys that were there, and no rest."""
    path = tmp_path / "keys"
    path.write_text(f"{A}\n")

    def fail(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(ConfigError, match="No space left"):
        rewrite(path, B)
    assert path.read_text() == f"{A}\n"
    assert os.listdir(tmp_path) == ["keys"]


def test_nothing_is_written_over_somebody_elses_keys(tmp_path: Path) -> None:
    """Whoever has not read the newest keys is told so; a file that came meanwhile counts too."""
    path = tmp_path / "keys"
    first, second = KeyFile(path), KeyFile(path)
    for source in (first, second):
        with pytest.raises(NoKeys):
            source.read()
    first.write([A])
    with pytest.raises(KeysChanged):
        second.write([B])
    assert second.read() == [A]
    first.read()
    first.write([C, A])
    with pytest.raises(KeysChanged):
        second.write([B, A])
    assert path.read_text() == f"{C}\n{A}\n"


def _add(path: str) -> int:
    return main(["keys", "add", path])


def test_operators_who_add_keys_at_once_lose_none(tmp_path: Path) -> None:
    """Each of several processes finds its key in the file afterwards."""
    path = tmp_path / "keys"
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        assert pool.map(_add, [str(path)] * 6, chunksize=1) == [0] * 6
    assert len(Keyring.from_file(path).key_ids) == 6


def test_a_file_that_cannot_be_read_shows_nothing_of_itself(tmp_path: Path) -> None:
    """Its bytes are neither in the error nor in what it was caused by."""
    path = tmp_path / "keys"
    path.write_bytes(A.encode() + b"\xff\n")
    with pytest.raises(ConfigError, match="cannot be used") as caught:
        Keyring.from_file(path)
    assert caught.value.__cause__ is None
    assert A not in repr(caught.value)


def test_urls(tmp_path: Path) -> None:
    """An absolute path, with whatever is written in per cent; anything else is explained."""
    path = tmp_path / "my keys"
    path.write_text(f"{A}\n")
    assert Keyring.from_url(f"file://{tmp_path}/my%20keys").key_ids == Keyring([A]).key_ids
    for url in ("file://host/keys", "file:", "nowhere://x"):
        with pytest.raises(ConfigError):
            from_url(url)
