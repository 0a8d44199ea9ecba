"""The writes of a process as numbered points, and a fault at one of them.

A point is a file that is opened for writing, renamed, linked or removed, a folder that is made or removed, each below a
root, and a commit of a database, before and after. What changes nothing (a folder that is there is made, a file that is
not there removed) is none. Nothing of the program is replaced: Python's audit hook tells of the files, SQLAlchemy of
the commits. Of a journal a commit is a line that is added.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.exc import OperationalError

from pipeline.study.ledger.journal.lines import JournalLines

KILLED = 9
AN_HOUR = 3600.0
WORKERS = " (worker)"  # in a point's name
UNFLUSHED = " (unflushed)"  # in a point's name: a power failure takes more than a kill
TIMED = " (timed)"  # in a commit's name: the clock is read between it and the next one
DATABASE = re.compile(r"\.db(-journal|-wal|-shm)?$")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
FILES = ("open", "os.mkdir", "os.rename", "os.link")  # what a disk may refuse

# name of a fault -> the kinds of points that it may befall
FAULTS: dict[str, tuple[str, ...]] = {
    "kill": ("files", "before", "after"),
    "power": ("losable",),  # where nothing is unflushed it is a kill
    "pause": ("files", "after"),  # before a commit sqlite's own lock keeps the others out
    "orphan": ("worker",),  # the driver is killed, its worker goes on when another driver has finished
    "no space": ("refusable",),
    "io error": ("refusable",),
    "answer lost": ("after",),
    "refused": ("before",),
    "undone": ("after",),
    "clock": ("timed",),  # elsewhere it is a jump at the commit after
}


@dataclass
class Points:
    """The points of this process; inert without a `root`."""

    root: str = ""
    at: int = 0
    fault: str = ""
    seen: list[str] = field(default_factory=list)
    on_pause: Callable[[], None] = lambda: None
    unflushed: set[str] = field(default_factory=set)  # files whose content is in the page cache alone
    unnamed: dict[str, str] = field(
        default_factory=dict
    )  # names not flushed with their folder: name -> folder
    shift_s: float = 0.0  # of the clock
    last_commit: int = 0  # which point it was
    in_worker: bool = False  # a trial's process, in another life
    orphaned: bool = False

    def begin(self, root: Path, *, fault: str = "", at: int = 0) -> None:
        """Number the points from 1; the fault befalls number `at`."""
        self.root, self.at, self.fault, self.seen = str(root), at, fault, []
        self.unflushed, self.unnamed, self.last_commit = set(), {}, 0

    def end(self) -> list[str]:
        """Return what was seen; nothing more is."""
        self.root = ""
        return self.seen

    def reach(self, name: str, kinds: tuple[str, ...]) -> None:
        """Reach a point."""
        if self.in_worker:
            name, kinds = name + WORKERS, (*kinds, "worker")
        if self.unflushed or self.unnamed:
            name, kinds = name + UNFLUSHED, (*kinds, "losable")
        self.seen.append(name)
        if "before" in kinds:
            self.last_commit = len(self.seen)
        # a pause before a commit is asked for by name, where the database lets go of its locks; whether the clock is
        # read after it is not known yet
        befalls = (*FAULTS[self.fault], "before") if self.fault in ("pause", "clock") else FAULTS[self.fault]
        if len(self.seen) != self.at or not set(kinds) & set(befalls):
            return
        match self.fault:
            case "kill" | "undone":
                os._exit(KILLED)
            case "power":
                self._lose_power()
                os._exit(KILLED)
            case "pause":
                self.on_pause()
            case "orphan":
                if os.fork():
                    os._exit(KILLED)
                self.orphaned = True
                self.on_pause()
            case "no space":
                raise OSError(errno.ENOSPC, "No space left on device", name)
            case "io error":
                raise OSError(errno.EIO, "Input/output error", name)
            case "answer lost" | "refused":
                raise OperationalError("COMMIT", {}, Exception("server closed the connection"))
            case "clock":
                self.shift_s = AN_HOUR

    def _lose_power(self) -> None:
        self.root = ""
        for path in self.unflushed:
            if Path(path).exists():
                os.truncate(path, 0)
        for name in self.unnamed:
            if Path(name).is_dir():
                shutil.rmtree(name)
            else:
                Path(name).unlink(missing_ok=True)

    def heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Take in an audit event: a file or a folder is about to change."""
        if not self.root:
            return
        if event == "open":
            path, _, flags = arguments
            if not isinstance(path, str | bytes | os.PathLike) or not (flags or 0) & WRITES:
                return
            paths = [path]
        elif event in ("os.rename", "os.link"):
            paths = list(arguments[:2])
        elif event in ("os.mkdir", "os.remove", "os.rmdir"):
            paths = [arguments[0]]
        else:
            return
        names = [os.fsdecode(path) for path in paths]
        if not names[-1].startswith(self.root) or DATABASE.search(names[-1]) or _is_idle(event, names[-1]):
            return
        self.reach(f"{event} {names[-1].removeprefix(self.root)}", kinds_of(event))
        self._note(event, names)

    def _note(self, event: str, names: list[str]) -> None:
        """Keep account of what a power failure would take."""
        if event == "open":
            self.unflushed.add(names[0])
        elif event in ("os.remove", "os.rmdir"):
            self._forget(names[0])
        else:
            if names[0] in self.unflushed:
                self.unflushed.add(names[-1])
            if event == "os.rename":
                self._forget(names[0])
            self.unnamed[names[-1]] = str(Path(names[-1]).parent)

    def _forget(self, name: str) -> None:
        self.unflushed.discard(name)
        self.unnamed.pop(name, None)

    def read_clock(self) -> None:
        """Take in that the program reads the clock: a jump before the last commit differs from one after it."""
        if self.root and self.last_commit and not self.seen[self.last_commit - 1].endswith(TIMED):
            self.seen[self.last_commit - 1] += TIMED

    def flushed(self, path: str) -> None:
        """Take in that a file or a folder was flushed."""
        self.unflushed = {name for name in self.unflushed if not _same(name, path)}
        self.unnamed = {name: folder for name, folder in self.unnamed.items() if folder != path}


def kinds_of(name: str) -> tuple[str, ...]:
    """The kinds of a point, by its name."""
    first, second, *_ = [*name.split(), ""]
    of_file = ("files", "refusable") if first in FILES else ("files",)
    kinds: tuple[str, ...] = (second,) if first == "commit" else of_file
    marks = {WORKERS: "worker", UNFLUSHED: "losable", TIMED: "timed"}
    return (*kinds, *(kind for mark, kind in marks.items() if mark in name))


def _is_idle(event: str, path: str) -> bool:
    """Whether an event changes nothing: `mkdir` is tried before it is known whether the parent is there."""
    if event == "os.mkdir":
        return Path(path).is_dir() or not Path(path).parent.is_dir()
    return event in ("os.remove", "os.rmdir") and not os.path.lexists(path)


def _same(one: str, other: str) -> bool:
    try:
        return Path(one).samefile(other)
    except OSError:
        return False


POINTS = Points()
_installed = False


def _database_of(dialect: Any, connection: Any) -> str:
    """The file's name of a sqlite database, else what kind of a server it is."""
    if dialect.name != "sqlite":
        return str(dialect.name)
    cursor = connection.cursor()
    cursor.execute("PRAGMA database_list")
    return Path(cursor.fetchone()[2]).name


def install() -> None:
    """Begin to listen, for the rest of this process; inert until POINTS has a root."""
    global _installed
    if _installed:
        return
    _installed = True
    sys.addaudithook(POINTS.heard)
    commit, append = DefaultDialect.do_commit, JournalLines.append_logs
    fsync, now = os.fsync, time.time

    def telling_time() -> float:
        POINTS.read_clock()
        return now() + POINTS.shift_s

    def committing(self: Any, connection: Any) -> None:
        if not POINTS.root:
            commit(self, connection)
            return
        which = _database_of(self, connection)
        POINTS.reach(f"commit before {which}", ("before",))
        commit(self, connection)
        POINTS.reach(f"commit after {which}", ("after",))

    def appending(self: JournalLines, logs: list[dict[str, Any]]) -> None:
        if POINTS.root:
            POINTS.reach("commit before journal", ("before",))
        append(self, logs)
        if POINTS.root:
            POINTS.reach("commit after journal", ("after",))

    def flushing(descriptor: int) -> None:
        fsync(descriptor)
        if POINTS.root:
            POINTS.flushed(str(Path(f"/proc/self/fd/{descriptor}").readlink()))

    DefaultDialect.do_commit = committing  # type: ignore[method-assign]
    JournalLines.append_logs = appending  # type: ignore[method-assign]
    os.fsync = flushing  # type: ignore[assignment]
    time.time = telling_time
