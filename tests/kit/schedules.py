"""A study of two trials under a schedule: processes with a fault at one point of the first; then the books are read.

Ledger, store, lease, queue and worker are the program's own; a trial is a few files instead of a training. Every
process adds its own noise to its metric, so that what one process overwrites of another shows by value.
"""

from __future__ import annotations

import hashlib
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
from pipeline.study.records import BadInput, TrialRecord
from pipeline.study.store import Store
from pipeline.study.store import study as study_room
from tests.kit.actors import SPEC, TRIALS, drive, export, publish
from tests.kit.books import books_of, query
from tests.kit.points import FAULTS, KILLED, POINTS, install, kinds_of
from tests.kit.postgres import PASSWORD, Server

SLEEP = time.sleep  # `hurried` takes it from Optuna, and so from all
PATIENCE_S = 60.0  # for a process of a schedule
FAULT_OF_OURS = 70  # exit code of an error that no message knows
ACTORS = {"driver": drive, "sync": publish, "exporter": export}
PAUSES = ("pause", "orphan")


@dataclass(frozen=True)
class Schedule:
    """A fault at a point of the first process, then an undisturbed one."""

    fault: str
    at: int
    then: int = 0  # a kill at that point of the second process; 0: none

    def __str__(self) -> str:
        return f"{self.fault} at {self.at}" + (f", kill at {self.then}" if self.then else "")


@dataclass
class Outcome:
    """What was wrong after a schedule; nothing should be."""

    schedule: Schedule
    point: str
    wrong: list[str] = field(default_factory=list)


def _child(root: Path, run: Callable[[], None], *, fault: str = "", at: int = 0, on_pause: Any = None) -> int:
    """Start a process that runs an actor; return its number."""
    pid = os.fork()
    if pid:
        return pid
    code = 0
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
        server: Server | None = None,
        journal: bool = False,
    ) -> None:
        """Run it once undisturbed: its points are those of every schedule.

        Args:
            folder: for all of it.
            actor: the first process, and the last: "driver", "sync" or "exporter" of a study that has ended.
            stops: the second trial is stopped at a rung.
            mlflow: a driver publishes its trials.
            server: with the ledger, a database for each schedule; None: sqlite.
            journal: the ledger is a folder of Optuna's journals.
        """
        install()
        self.folder, self.actor, self.server, self.journal = folder, actor, server, journal
        self.mlflow = mlflow or actor == "sync"
        how: dict[str, Any] = {"stops": stops, "mlflow": mlflow} if actor == "driver" else {}
        self.run = partial(ACTORS[actor], **how)
        self.template = folder / "template"
        (self.template / "store").mkdir(parents=True)  # also makes `folder`
        self._make_databases()
        if actor != "driver":
            drive(self.template, self.url(self.template))
        # what is imported late is there for all processes that are forked
        root = self._new()
        self.run(root, self.url(root))
        self._remove(root)
        root = self.undisturbed()
        (seen,) = root.glob("seen.*")
        self.points = seen.read_text().splitlines()
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
        """Every fault at every point that it may befall."""
        found = []
        for at, name in enumerate(self.points, start=1):
            kinds = set(kinds_of(name))
            found += [Schedule(fault, at) for fault, befalls in FAULTS.items() if kinds & set(befalls)]
        return found

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
            self._judge(root, pid, _wait(pid), found, may_stop=schedule.fault not in ("clock",))
            if schedule.fault == "undone":
                books_of(self.url(root)).undo_last()
        if schedule.then:
            _wait(_child(root, run, fault="kill", at=schedule.then))
        told = _digests(root) if schedule.fault != "power" else {}
        pid = _child(root, run)
        self._judge(root, pid, _wait(pid), found, may_stop=False)
        if self.actor == "exporter":
            drive(root, self.url(root))  # removes what killed writers left
        if any(_digests(root).get(number) != was for number, was in told.items()):
            found.wrong.append("a record changed")
        found.wrong += self.audit(root)
        self._remove(root)
        return found

    def _pause(self, root: Path, schedule: Schedule, found: Outcome) -> None:
        """The first process stands still at a point; another one, a reader too, goes its way; then the first goes on.

        An orphan is a worker whose driver is dead: nobody waits for it but this harness, until its pipe closes.
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
                _wait(first)
            _read(root, found)
            second = _child(root, partial(run, take_over=not is_orphan))
            self._judge(root, second, _wait(second), found, may_stop=False)
        ended = _digests(root)
        os.write(go, b"x")
        if is_orphan:
            os.read(there, 1)
        else:
            self._judge(root, first, _wait(first), found, may_stop=True)
        if any(_digests(root).get(number) != was for number, was in ended.items()):
            found.wrong.append("the paused process changed a record")
        if self.actor == "exporter":  # the last one would write over what both have left
            found.wrong += _exports_differ(root)
        for descriptor in (there, goes_on, go):
            os.close(descriptor)

    def _judge(self, root: Path, pid: int, code: int, found: Outcome, *, may_stop: bool) -> None:
        with suppress(OSError):
            said = (root / f"said.{pid}").read_text()
            if code == 0 or (may_stop and code in (1, 2, KILLED)):  # 2: the database refused as it was opened
                return
            found.wrong.append(f"exit {code}: {said[-600:]}")
            return
        if code != KILLED or not may_stop:
            found.wrong.append(f"exit {code}, nothing said")

    def audit(self, root: Path) -> list[str]:
        """Return what is wrong with ledger, store and MLflow."""
        store, wrong = Store(root / "store"), []
        study, asked = store.study("s"), books_of(self.url(root)).asked()
        if sorted(asked) != list(range(TRIALS)):
            return [f"the ledger has the trials {sorted(asked)}"]
        draws = getattr(self, "draws", None)
        for number, row in asked.items():
            if draws is not None and row["params"] != draws.get(number):
                wrong.append(f"trial {number} was drawn in another way")
            if row["state"] == "RUNNING":
                wrong.append(f"trial {number} is left running")
            try:
                record = study.read_record(number)
            except BadInput as error:
                wrong.append(f"trial {number}: {error}")
                continue
            values = None if record.recovered is None else _values(record)
            if row["values"] != values:
                wrong.append(f"trial {number}: the ledger has {row['values']}, the record {values}")
            weights = study.weights.path(number, "recovered")
            if record.state == "complete" and not weights.is_file():
                wrong.append(f"trial {number}: no weights")
            elif record.state == "complete" and weights.read_text() != record.provenance["pid"]:
                wrong.append(f"trial {number}: weights of another process than the record")
        left = [
            p
            for p in (root / "store").rglob("*")
            if p.name.endswith(".part") or p.name.startswith("attempt-")
        ]
        wrong += [f"left over: {path.relative_to(root)}" for path in left]
        wrong += _exports_differ(root) if self.actor == "exporter" else []
        return wrong + (_mlflow_differs(root, asked) if self.mlflow else [])


def _read(root: Path, found: Outcome) -> None:
    """Somebody reads, as `show` and `report` do, while a writer stands still."""
    store = Store(root / "store")
    if "s" not in store.list_studies():
        return
    try:
        study = store.study("s")
        table = study.read_points()
        for number in study.finished_numbers():
            study.read_record(number)
        study.confirmations.read()
        study.exports.read()
        del table
    except Exception as error:
        found.wrong.append(f"a reader: {type(error).__name__}: {error}")


def _exports_differ(root: Path) -> list[str]:
    """What exporters that ended well have left: each its scores, and a confirmation that is one process's."""
    study, wrong = Store(root / "store").study("s"), []
    ended = {path.name.partition(".")[2] for path in root.glob("said.*") if path.read_text() == "done"}
    there = {str(int(scores.weights_sha256)) for scores in study.exports.read()}
    if not ended <= there:
        wrong.append(f"the test scores of {sorted(ended - there)} are lost")
    confirmed = study.confirmations.read()
    if len(confirmed) != 1:
        wrong.append(f"{len(confirmed)} confirmations")
    for each in confirmed:
        if each.predictions.tolist() != [int(each.provenance["pid"]) % 1000]:
            wrong.append("a confirmation's predictions are another process's")
    return wrong


def _mlflow_differs(root: Path, asked: dict[int, Any]) -> list[str]:
    words = (
        "SELECT t.value, r.status,"
        " (SELECT value FROM latest_metrics m WHERE m.run_uuid = r.run_uuid AND m.key = 'metric')"
        " FROM runs r JOIN tags t ON t.run_uuid = r.run_uuid AND t.key = 'prunefront.trial'"
        " WHERE r.lifecycle_stage = 'active' ORDER BY t.value"
    )
    runs = query(root / "store" / "mlflow.db", words)
    wrong = []
    if [int(number) for number, *_ in runs] != list(range(TRIALS)):
        wrong.append(f"MLflow has the trials {[number for number, *_ in runs]}")
    for number, status, metric in runs:
        values = asked[int(number)]["values"]
        if status == "RUNNING":
            wrong.append(f"MLflow: trial {number} is left running")
        if values is not None and (metric is None or abs(metric - float(f"{values[0]:.6g}")) > 1e-9):
            wrong.append(f"MLflow has {metric} of trial {number}, the ledger {values[0]}")
    return wrong


def _values(record: TrialRecord) -> tuple[float, ...]:
    assert record.recovered is not None
    return tuple(SPEC.values(vars(record.recovered.measurement)).tolist())


def _digests(root: Path) -> dict[str, str]:
    records = (root / "store/studies/s/trials").glob("[0-9]*/record.json")
    return {path.parent.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in records}


@contextmanager
def hurried() -> Iterator[None]:
    """No pauses between tries, no peaks of memory: neither is what schedules are about."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trial_source, "RETRY_PAUSES_S", (0.0, 0.0))
        patch.setattr(busy, "PAUSES_S", ())
        patch.setattr(storage, "BUSY_TIMEOUT_S", 5)
        patch.setattr(study_room, "ABANDONED_S", -1.0)  # all are killed ones
        patch.setattr(worker, "_peaks", dict)
        patch.setattr(worker, "_send", lambda _report: None)
        patch.setattr("optuna.storages._rdb.storage.time.sleep", lambda _: None)
        patch.setattr(lines, "LOCK_S", 3)  # the shortest without a warning of Optuna's
        # it reads all migrations of the tables each time: half of a process's time
        versions = "optuna.storages._rdb.storage._VersionManager.check_table_schema_compatibility"
        patch.setattr(versions, lambda _: None)
        yield
