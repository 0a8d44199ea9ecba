"""A study of two trials under a schedule: processes with a fault at one point of the first; then the books are read.

Ledger, store, lease, queue and worker are the program's own; a trial is a few files instead of a training. Every
process adds its own noise to its metric, so that what one process overwrites of another shows by value.
"""

from __future__ import annotations

import gc
import os
import random
import shutil
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.outside_errors import outside_cause
from pipeline.driver.execute import trials as worker
from pipeline.driver.search import trial_source
from pipeline.driver.tracking import busy, open_tracking
from pipeline.study.ledger import hold, storage
from pipeline.study.ledger.journal import lines
from pipeline.study.records import BadInput
from pipeline.study.store import study as study_room
from tests.kit.actors import EARLIER, drive, export, publish
from tests.kit.audits import audit, changed, digests, exports_differ, mlflow_differs, read_all
from tests.kit.books import books_of
from tests.kit.points import FAULTS, KILLED, POINTS, install, kinds_of
from tests.kit.postgres import PASSWORD, Server

SLEEP = time.sleep  # `hurried` takes it from Optuna, and so from all
PATIENCE_S = 60.0  # for a process of a schedule
FAULT_OF_OURS = 70  # exit code of an error that no message knows
ACTORS = {"driver": drive, "earlier": partial(drive, spec=EARLIER), "sync": publish, "exporter": export}
PAUSES = ("pause", "orphan")


@dataclass(frozen=True)
class Schedule:
    """A fault at a point of the first process, then an undisturbed one."""

    fault: str
    at: int
    # a point of the second process: it is killed there; or, after a pause, the first goes on there. 0: at no point
    then: int = 0

    def __str__(self) -> str:
        what = "the first goes on" if self.fault in PAUSES else "kill"
        return f"{self.fault} at {self.at}" + (f", {what} at {self.then}" if self.then else "")


@dataclass
class Outcome:
    """What was wrong after a schedule; nothing should be."""

    schedule: Schedule
    point: str
    code: int = 0  # of the first process
    wrong: list[str] = field(default_factory=list)


def _child(root: Path, run: Callable[[], None], *, fault: str = "", at: int = 0, on_pause: Any = None) -> int:
    """Start a process that runs an actor; return its number."""
    pid = os.fork()
    if pid:
        return pid
    code = 0
    gc.disable()  # it would touch, and so copy, all that the fork shares with its parent; nothing here lives long
    try:
        POINTS.on_pause = on_pause or (lambda: None)
        POINTS.begin(root, fault=fault or "kill", at=at)
        said = "done"
        try:
            run()
        except BadInput as error:
            code, said = 2, str(error)
        except BaseException as error:
            known = outside_cause(error)
            is_disk = isinstance(error, OSError) and fault in ("no space", "io error")
            code = 1 if known or is_disk else FAULT_OF_OURS
            said = known or "".join(traceback.format_exception(error))
        seen = POINTS.end()
        (root / f"said.{os.getpid()}").write_text(said)
        (root / f"seen.{os.getpid()}").write_text("\n".join(seen))
    except BaseException:
        traceback.print_exc()
        code = 71
    os._exit(code)


def _wait(pid: int) -> int:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        SLEEP(0.002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return -1


class Study:
    """Schedules of one kind of study, from one template of databases."""

    def __init__(
        self,
        folder: Path,
        *,
        actor: str = "driver",
        stops: bool = False,
        mlflow: bool = False,
        leftover: bool = False,
        server: Server | None = None,
        journal: bool = False,
    ) -> None:
        """Run it once undisturbed: its points are those of every schedule.

        Args:
            folder: for all of it.
            actor: the first process, and the last: "driver", "sync" or "exporter" of a study that has ended; "earlier"
                is another search of the study's name, after which the last is a driver.
            stops: the second trial is stopped at a rung.
            mlflow: a driver publishes its trials.
            leftover: another search of the name has left its trials unseen.
            server: with the ledger, a database for each schedule; None: sqlite.
            journal: the ledger is a folder of Optuna's journals.
        """
        install()
        self.folder, self.actor, self.server, self.journal = folder, actor, server, journal
        self.leftover = leftover
        self.mlflow = mlflow or actor == "sync"
        how: dict[str, Any] = {"stops": stops, "mlflow": mlflow} if actor == "driver" else {}
        self.run = partial(ACTORS[actor], **how)
        self.then = drive if actor == "earlier" else self.run
        self.template = folder / "template"
        (self.template / "store").mkdir(parents=True)  # also makes `folder`
        self._make_databases()
        if leftover:
            drive(self.template, self.url(self.template), spec=EARLIER)
        if actor in ("sync", "exporter"):
            drive(self.template, self.url(self.template))
        # what is imported late is there for all processes that are forked
        root = self._new()
        self.run(root, self.url(root))
        self._remove(root)
        root = self.undisturbed()
        (seen,) = root.glob("seen.*")
        self.points = seen.read_text().splitlines()
        if actor == "earlier":
            self._finish(root)
        self.draws = {n: row["params"] for n, row in books_of(self.url(root)).asked().items()}
        assert self.audit(root) == []
        self._remove(root)

    def url(self, root: Path) -> str:
        """The ledger of a schedule."""
        if self.journal:
            return f"journal://{root}/ledger"
        if self.server is None:
            return f"sqlite:///{root}/studies.db"
        return self.server.url(f"s_{root.name}", password=PASSWORD)

    def undisturbed(self) -> Path:
        """Run an actor without a fault; return its folder."""
        root = self._new()
        pid = _child(root, partial(self.run, root, self.url(root)))
        code = _wait(pid)
        assert code == 0, (root / f"said.{pid}").read_text()
        return root

    def _finish(self, root: Path) -> None:
        pid = _child(root, partial(self.then, root, self.url(root)))
        code = _wait(pid)
        assert code == 0, (root / f"said.{pid}").read_text()

    def _make_databases(self) -> None:
        import optuna

        if self.server is not None:
            self.server.create("s_template")
        url = self.url(self.template)
        if not self.journal:
            optuna.storages.RDBStorage(storage.driver_url(url)).engine.dispose()
        with hold(url, "s"):
            pass
        if self.mlflow:
            open_tracking(None, store_root=self.template / "store")

    def _new(self) -> Path:
        root = self.folder / os.urandom(4).hex()
        shutil.copytree(self.template, root)
        if self.server is not None:
            self.server.run(
                "createdb", "-h", "127.0.0.1", "-p", str(self.server.port), "-U", "prunefront",
                "-T", "s_template", f"s_{root.name}",
            )  # fmt: skip
        return root

    def _remove(self, root: Path) -> None:
        shutil.rmtree(root)
        if self.server is not None:
            self.server.run(
                "dropdb", "--force", "-h", "127.0.0.1", "-p", str(self.server.port), "-U", "prunefront",
                f"s_{root.name}",
            )  # fmt: skip

    def schedules(self) -> list[Schedule]:
        """Every fault at every point that it may befall, but for those that leave what another one leaves."""
        found = []
        for at, name in enumerate(self.points, start=1):
            kinds = set(kinds_of(name))
            found += [Schedule(fault, at) for fault, befalls in FAULTS.items() if kinds & set(befalls)]
            if self.server is not None and "before" in kinds:  # it ends a transaction that stands still
                found.append(Schedule("pause", at))
        # nothing is written between a commit and the point after it: a kill there is the one here
        last = len(self.points)
        return [
            each for each in found if each.fault != "kill" or each.at == last or not self._is_after(each.at)
        ]

    def _is_after(self, at: int) -> bool:
        return self.points[at - 1].startswith("commit after")

    def at_once(self) -> list[Schedule]:
        """Every pause once more; the second process is in its middle when the first goes on."""
        # before a commit sqlite's own lock keeps the first out
        free = [at for at, name in enumerate(self.points, 1) if not name.startswith("commit before")]
        paused = [each for each in self.schedules() if each.fault in PAUSES]
        return [replace(each, then=free[each.at * 7 % len(free)]) for each in paused]

    def pairs(self, generator: random.Random) -> Iterator[Schedule]:
        """Random schedules, with a second fault in the process that goes on."""
        every = self.schedules()
        while True:
            first = generator.choice(every)
            yield replace(first, then=generator.randint(1, len(self.points)))

    def try_out(self, schedule: Schedule) -> Outcome:
        """Run a schedule, then an undisturbed process, and read the books."""
        root = self._new()
        run = partial(self.run, root, self.url(root))
        found = Outcome(schedule, self.points[schedule.at - 1] if schedule.at <= len(self.points) else "")
        if schedule.fault in PAUSES:
            self._pause(root, schedule, found)
        else:
            pid = _child(root, run, fault=schedule.fault, at=schedule.at)
            found.code = _wait(pid)
            self._judge(root, pid, found.code, found, may_stop=schedule.fault not in ("clock",))
            if schedule.fault == "undone":
                books_of(self.url(root)).undo_last()
        if schedule.then and schedule.fault not in PAUSES:
            _wait(_child(root, run, fault="kill", at=schedule.then))
        is_anew = self.leftover or self.actor == "earlier"  # nobody has seen what the earlier one has found
        told = {} if is_anew or schedule.fault == "power" else digests(root)
        pid = _child(root, partial(self.then, root, self.url(root)))
        self._judge(root, pid, _wait(pid), found, may_stop=False)
        if self.actor == "exporter":
            drive(root, self.url(root))  # removes what killed writers left
        if changed(root, told):
            found.wrong.append("overwritten: a record changed")
        found.wrong += self.audit(root)
        self._remove(root)
        return found

    def _pause(self, root: Path, schedule: Schedule, found: Outcome) -> None:
        """The first process stands still at a point; another one, a reader too, goes its way; then the first goes on.

        An orphan is a worker whose driver is dead: nobody waits for it but this harness, until its pipe closes. With
        `then` the first goes on to its end when the other one is at that point.
        """
        (there, reached), (goes_on, go) = os.pipe(), os.pipe()

        def stand_still() -> None:
            os.write(reached, b"x")
            os.read(goes_on, 1)

        run = partial(self.run, root, self.url(root))
        first = _child(root, run, fault=schedule.fault, at=schedule.at, on_pause=stand_still)
        os.close(reached)
        is_orphan = schedule.fault == "orphan"
        if os.read(there, 1):
            if is_orphan:
                found.code = _wait(first)
            found.wrong += read_all(root)

            def first_goes_on() -> None:
                os.write(go, b"x")
                os.read(there, 1)  # until its end

            then = partial(self.then, root, self.url(root), take_over=not is_orphan)
            second = _child(
                root, then, fault="pause" if schedule.then else "", at=schedule.then, on_pause=first_goes_on
            )
            self._judge(root, second, _wait(second), found, may_stop=False)
        ended = digests(root)
        os.write(go, b"x")
        if is_orphan:
            os.read(there, 1)
        else:
            found.code = _wait(first)
            self._judge(root, first, found.code, found, may_stop=True)
        if changed(root, ended):
            found.wrong.append("overwritten: the paused process changed a record")
        if self.actor == "exporter":  # the last one would write over what both have left
            found.wrong += exports_differ(root)
        for descriptor in (there, goes_on, go):
            os.close(descriptor)

    def _judge(self, root: Path, pid: int, code: int, found: Outcome, *, may_stop: bool) -> None:
        with suppress(OSError):
            said = (root / f"said.{pid}").read_text()
            if code == 0 or (may_stop and code in (1, 2, KILLED)):  # 2: the database refused as it was opened
                return
            found.wrong.append(f"ended badly: exit {code}: {said[-600:]}")
            return
        if code != KILLED or not may_stop:
            found.wrong.append(f"ended badly: exit {code}, nothing said")

    def audit(self, root: Path) -> list[str]:
        """Return what is wrong with ledger, store and MLflow."""
        wrong = audit(root, self.url(root), getattr(self, "draws", None))
        wrong += exports_differ(root) if self.actor == "exporter" else []
        return wrong + (mlflow_differs(root, self.url(root)) if self.mlflow and not wrong else [])


@contextmanager
def hurried() -> Iterator[None]:
    """No pauses between tries, no peaks of memory: neither is what schedules are about."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trial_source, "RETRY_PAUSES_S", (0.0, 0.0))
        patch.setattr(busy, "PAUSES_S", ())
        patch.setattr(storage, "BUSY_TIMEOUT_S", 5)
        patch.setattr(study_room, "ABANDONED_S", -1.0)  # all are killed ones
        patch.setattr(shutil, "_use_fd_functions", False)  # what it removes is told with whole paths
        patch.setattr(worker, "peak_memory_mb", lambda: 0.0)
        patch.setattr(worker, "_send", lambda _report: None)
        patch.setattr("optuna.storages._rdb.storage.time.sleep", lambda _: None)
        patch.setattr(lines, "LOCK_S", 3)  # the shortest without a warning of Optuna's
        # it reads all migrations of the tables each time: half of a process's time
        versions = "optuna.storages._rdb.storage._VersionManager.check_table_schema_compatibility"
        patch.setattr(versions, lambda _: None)
        yield
