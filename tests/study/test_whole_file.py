"""Files are written whole: flushed with their folder, one of two writers wins, a failure leaves what was there."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from pipeline.study.whole_file import LEFTOVER_S, whole_file, whole_folder, write_whole
from tests.kit.disk import disk


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is flushed to disk and what is renamed, in order: names, with a slash after a folder's."""
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("needs /proc to name an open file")
    found: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def spy(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        found.append(path.name + "/" * stat.S_ISDIR(os.fstat(descriptor).st_mode))
        fsync(descriptor)

    def renamed(self: Path, target: Path) -> Path:
        found.append(f"-> {target.name}")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", spy)
    monkeypatch.setattr(Path, "replace", renamed)
    return found


def is_part(name: str, of: str) -> bool:
    return name.startswith(f".{of}.") and name.endswith(".part") and len(name) == len(of) + 15


def test_file_and_folder_are_flushed_around_the_rename(tmp_path: Path, synced: list[str]) -> None:
    write_whole(tmp_path / "made" / "a.json", b"one")
    assert synced[0] == f"{tmp_path.name}/"  # which has a new folder's name
    assert is_part(synced[1], "a.json")
    assert synced[2:] == ["-> a.json", "made/"]
    assert (tmp_path / "made" / "a.json").read_bytes() == b"one"


def test_a_folder_is_flushed_with_all_that_is_in_it(tmp_path: Path, synced: list[str]) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "whole" / "old").touch()
    with whole_folder(tmp_path / "whole") as part:
        (part / "in").mkdir()
        (part / "in" / "b").write_bytes(b"b")
        (part / "a").write_bytes(b"a")
    assert synced[:3] == ["a", "in/", "b"]
    assert is_part(synced[3].removesuffix("/"), "whole")
    assert synced[4:] == ["-> whole", f"{tmp_path.name}/"]
    assert sorted(path.name for path in (tmp_path / "whole").rglob("*")) == ["a", "b", "in"]


def test_a_copy_that_can_be_fetched_again_is_not_flushed(tmp_path: Path, synced: list[str]) -> None:
    with whole_file(tmp_path / "a", durable=False) as part:
        part.write_bytes(b"x")
    assert synced == ["-> a"]


@pytest.mark.parametrize("folder", [False, True])
def test_an_error_leaves_what_was_there(tmp_path: Path, folder: bool) -> None:
    kept = tmp_path / "a" / "in" if folder else tmp_path / "a"
    kept.parent.mkdir(exist_ok=True)
    kept.write_bytes(b"old")

    def interrupted() -> None:
        with (whole_folder if folder else whole_file)(tmp_path / "a") as part:
            (part / "in" if folder else part).write_bytes(b"new, but n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert kept.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_disk_that_is_full_when_it_is_flushed_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_whole(tmp_path / "a", b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(tmp_path / "a", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


@pytest.mark.parametrize(("number", "raised"), [(errno.EINVAL, False), (errno.EIO, True)])
def test_a_file_system_that_cannot_flush_folders_is_used_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, raised: bool
) -> None:
    fsync = os.fsync

    def refuse(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)
    if raised:
        with pytest.raises(OSError, match="error"):
            write_whole(tmp_path / "a", b"new")
    else:
        write_whole(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new"


def test_what_a_killed_writer_left_goes_a_day_later(tmp_path: Path) -> None:
    old, young, other = (tmp_path / f".{name}.part" for name in ("a.00000000", "a.11111111", "b.22222222"))
    for left in (old, young, other):
        left.write_bytes(b"torn")
    day_ago = time.time() - LEFTOVER_S - 60
    for left in (old, other):
        os.utime(left, (day_ago, day_ago))
    write_whole(tmp_path / "a", b"whole")
    assert {path.name for path in tmp_path.iterdir()} == {"a", young.name, other.name}


def test_two_processes_that_write_one_file_leave_one_whole_file(tmp_path: Path) -> None:
    # 256 KiB take several writes: with one temporary name for both, the file would hold bytes of both, or be gone
    code = (
        "import sys; from pathlib import Path; from pipeline.study.whole_file import whole_file\n"
        "for _ in range(50):\n"
        "    with whole_file(Path(sys.argv[1])) as part:\n"
        "        with part.open('wb', buffering=0) as file:\n"
        "            for _ in range(64): file.write(sys.argv[2].encode() * 4096)\n"
    )
    target = tmp_path / "a"
    running = [subprocess.Popen([sys.executable, "-c", code, str(target), letter]) for letter in "xy"]
    seen: set[bytes] = set()
    while any(process.poll() is None for process in running):
        if target.exists():
            seen.add(target.read_bytes())
    assert [process.returncode for process in running] == [0, 0]
    assert seen | {target.read_bytes()} <= {b"x" * 262_144, b"y" * 262_144}
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("whole", [whole_file, whole_folder])
def test_a_disk_that_is_full_for_a_library_in_rust_is_a_full_disk(tmp_path: Path, whole: Any) -> None:
    """Else it would be a fault of the trial, whose weights safetensors writes."""
    with (
        disk(tmp_path / "small", megabytes=1) as small,
        pytest.raises(OSError, match="No space left") as caught,
        whole(small / "w") as part,
    ):
        save_file({"a": np.zeros(1 << 20)}, part / "a" if part.is_dir() else part)
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(tmp_path / "small" / "w")
