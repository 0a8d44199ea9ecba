"""A study of two trials under a schedule: drivers in processes of their own, with a fault at one point of the first.

Ledger, store, lease, queue and worker are the program's own; a trial is a few files instead of a training. Every
process adds its own noise to its metric, so that what one process overwrites of another shows by value.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import sqlite3
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.cli.outside_errors import outside_cause
from pipeline.driver.execute import trials as worker
from pipeline.driver.search import trial_source
from pipeline.driver.search.budget import Budget, Meter
from pipeline.driver.search.study_queue import StudyQueue
from pipeline.driver.search.study_results import StudyResults
from pipeline.driver.search.trial_source import TrialSource
from pipeline.driver.search.watcher import SilentWatcher
from pipeline.driver.tracking import Publisher, Tracker, open_tracking
from pipeline.study.halving import Verdict
from pipeline.study.ledger import hold, open_ledger, storage
from pipeline.study.records import BadInput, Masks, Measurement, Point, TrialRecord
from pipeline.study.store import Store, save_record
from pipeline.study.whole_file import whole_file, whole_folder
from tests.kit.ledger import SPACE, spec_of
from tests.kit.points import FAULTS, KILLED, POINTS, install

TRIALS = 2
SPEC = spec_of("random")
STOPPED = 1  # the trial that is stopped at a rung
PATIENCE_S = 60.0  # for a process of a schedule
FAULT_OF_OURS = 70  # exit code of an error that no message knows


@dataclass(frozen=True)
class Schedule:
    """A fault at a point of the first driver, then an undisturbed one."""

    fault: str
    at: int
    then: int = 0  # a kill at that point of the second driver; 0: none

    def __str__(self) -> str:
        return f"{self.fault} at {self.at}" + (f", kill at {self.then}" if self.then else "")


@dataclass
class Outcome:
    """What was wrong after a schedule; nothing should be."""

    schedule: Schedule
    point: str
    wrong: list[str] = field(default_factory=list)


def _body(_inputs: Any, job: Any, *_: Any) -> TrialRecord:
    """A trial: a checkpoint, weights, a record with this process's noise."""
    own, pid = job.attempts[-1], os.getpid()
    with whole_folder(own / "checkpoint-000-0000001") as part:
        (part / "state.pt").write_bytes(b"x")
    with whole_file(own / "weights" / "recovered.safetensors") as part:
        part.write_bytes(str(pid).encode())
    metric = 0.9 - 0.1 * job.ask.number + pid % 9973 * 1e-7
    measured = Measurement(metric, {}, 0.3 + 0.1 * job.ask.number, 0.0, 1, 1, 1, 1.0)
    point = Point("recovered", 1, 0.0, measured, Masks.full(1, 1, 1), np.full(1, pid % 1000, np.int16))
    found = TrialRecord(job.ask.number, "complete", "", job.ask.params, job.ask.seed, points=(point,))
    return replace(found, provenance={"pid": str(pid)})


class _Stop(BaseException):
    """Tune stops a trial at a rung."""


def _stopped_body(inputs: Any, job: Any, *rest: Any) -> TrialRecord:
    if job.ask.number == STOPPED:
        left = TrialRecord(
            STOPPED, "stopped", "", job.ask.params, job.ask.seed, provenance={"pid": str(os.getpid())}
        )
        save_record(job.attempts[-1], left)
        raise _Stop
    return _body(inputs, job, *rest)


class _InStep:
    """The publisher without its thread: what is owed is published at once, so that points have an order."""

    def __init__(self, publisher: Publisher) -> None:
        self.publisher, self.off = publisher, False
        Tracker.publish_front = lambda self, found, points: self.publish_standing(found)  # type: ignore[method-assign]

    def _try(self, call: Callable[[], object]) -> None:
        from pipeline.study.ledger import LeaseLost

        if self.off:
            return
        for _ in range(2):
            try:
                call()
                return
            except LeaseLost:
                self.off = True
                return
            except Exception as lost:
                self.publisher._lose(lost)

    def enqueue(self, number: int, *, again: bool = False) -> None:
        self.publisher.enqueue(number, again=again)
        self._try(self.publisher._publish_owed)

    def close(self, state: Any) -> bool:
        self._try(self.publisher._publish_owed)
        self._try(lambda: self.publisher._finish(state))
        return self.publisher.done

    def messages(self) -> list[str]:
        return []

    def abandon(self) -> None:
        self.off = True


class _Nowhere:
    """No MLflow."""

    def enqueue(self, number: int, *, again: bool = False) -> None: ...
    def close(self, state: Any) -> bool:
        return True

    def messages(self) -> list[str]:
        return []

    def abandon(self) -> None: ...


def drive(root: Path, *, take_over: bool, stops: bool, mlflow: bool) -> None:
    """What a search does with its trials."""
    store, url = Store(root / "store"), f"sqlite:///{root}/studies.db"
    study = store.study("s")
    with hold(url, "s", take_over=take_over) as lease:
        ledger = open_ledger(url, SPEC, SPACE, trials=TRIALS, lease=lease)
        if not study.exists():
            study.write_validation(["0"], np.zeros(1, np.int64))
            study.write_spec(SPEC)
        publisher: Any = _Nowhere()
        if mlflow:
            publisher = _InStep(
                Publisher(
                    SPEC, store=store, open_tracker=partial(open_tracking, None, store_root=store.root),
                    may_write=lease.check, address="the store",
                )
            )  # fmt: skip
        meter = Meter(store, "s", gpus_per_trial=0.0, may_write=ledger.check)
        queue = StudyQueue(
            TrialSource(ledger, Budget(TRIALS), meter, warn=lambda _: None),
            StudyResults(SPEC, store, may_write=ledger.check),
            publisher=publisher, watcher=SilentWatcher(), halving=None,
        )  # fmt: skip
        shared = worker._TrialShared(
            None, store.place, "s", 1.0, _stopped_body if stops else _body, 60.0, 0.05
        )  # type: ignore[arg-type]
        try:
            queue.settle()
            while (ask := queue.next()) is not None:
                try:
                    worker._attempt(store, ask, shared)
                except _Stop:
                    queue.verdicts[ask.number] = Verdict(
                        goes_on=False, redundant=False, reason="others are better"
                    )
                    queue.on_stop(ask.number)
                else:
                    queue.on_end(ask.number, None)
        finally:
            queue.close()


def _child(root: Path, run: Callable[[], None], *, fault: str = "", at: int = 0, on_pause: Any = None) -> int:
    """Start a process that runs a driver; return its number."""
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
        time.sleep(0.001)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return -1


class Study:
    """Schedules of one kind of study, from one template of databases."""

    def __init__(self, folder: Path, *, stops: bool = False, mlflow: bool = False) -> None:
        """Run it once undisturbed: its points are those of every schedule."""
        install()
        self.folder, self.mlflow, self.stops = folder, mlflow, stops
        self.run = partial(drive, stops=stops, mlflow=mlflow)
        self.template = folder / "template"
        (self.template / "store").mkdir(parents=True)  # also makes `folder`
        self._make_databases()
        self.run(
            self._new(), take_over=False
        )  # what is imported late is there for all processes that are forked
        root = self.undisturbed()
        (seen,) = root.glob("seen.*")
        self.points = seen.read_text().splitlines()
        self.draws = {number: row["params"] for number, row in _ledger(root).items()}
        assert self.audit(root) == []
        shutil.rmtree(root)

    def undisturbed(self) -> Path:
        """Run a driver without a fault; return its folder."""
        root = self._new()
        pid = _child(root, partial(self.run, root, take_over=False))
        code = _wait(pid)
        assert code == 0, (root / f"said.{pid}").read_text()
        return root

    def _make_databases(self) -> None:
        import optuna

        url = f"sqlite:///{self.template}/studies.db"
        optuna.storages.RDBStorage(url).engine.dispose()
        with hold(url, "s"):
            pass
        if self.mlflow:
            open_tracking(None, store_root=self.template / "store")

    def _new(self) -> Path:
        root = self.folder / os.urandom(4).hex()
        shutil.copytree(self.template, root)
        return root

    def schedules(self) -> list[Schedule]:
        """Every fault at every point that it may befall."""
        found = []
        for at, name in enumerate(self.points, start=1):
            kinds = _kinds(name)
            found += [Schedule(fault, at) for fault, befalls in FAULTS.items() if kinds & set(befalls)]
        return found

    def pairs(self, generator: random.Random) -> Iterator[Schedule]:
        """Random schedules, with a second fault in the driver that goes on."""
        every = self.schedules()
        while True:
            first = generator.choice(every)
            yield replace(first, then=generator.randint(1, len(self.points)))

    def try_out(self, schedule: Schedule) -> Outcome:
        """Run a schedule, then an undisturbed driver, and read the books."""
        root = self._new()
        found = Outcome(schedule, self.points[schedule.at - 1] if schedule.at <= len(self.points) else "")
        if schedule.fault == "pause":
            self._pause(root, schedule, found)
        else:
            pid = _child(root, partial(self.run, root, take_over=False), fault=schedule.fault, at=schedule.at)
            self._judge(root, pid, _wait(pid), found, may_stop=schedule.fault not in ("clock",))
            if schedule.fault == "undone":
                _undo_last(root / "studies.db")
        if schedule.then:
            pid = _child(root, partial(self.run, root, take_over=False), fault="kill", at=schedule.then)
            _wait(pid)
        told = _digests(root) if schedule.fault != "power" else {}
        pid = _child(root, partial(self.run, root, take_over=False))
        self._judge(root, pid, _wait(pid), found, may_stop=False)
        if any(_digests(root).get(number) != was for number, was in told.items()):
            found.wrong.append("a record changed")
        found.wrong += self.audit(root)
        shutil.rmtree(root)
        return found

    def _pause(self, root: Path, schedule: Schedule, found: Outcome) -> None:
        """The first driver stands still at a point; another takes over and finishes; then the first goes on."""
        (there, reached), (goes_on, go) = os.pipe(), os.pipe()

        def stand_still() -> None:
            os.write(reached, b"x")
            os.read(goes_on, 1)

        first = _child(
            root,
            partial(self.run, root, take_over=False),
            fault="pause",
            at=schedule.at,
            on_pause=stand_still,
        )
        os.close(reached)
        if os.read(there, 1):
            second = _child(root, partial(self.run, root, take_over=True))
            self._judge(root, second, _wait(second), found, may_stop=False)
        ended = _digests(root)
        os.write(go, b"x")
        self._judge(root, first, _wait(first), found, may_stop=True)
        if any(_digests(root).get(number) != was for number, was in ended.items()):
            found.wrong.append("the paused driver changed a record")
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
        study, asked = store.study("s"), _ledger(root)
        if sorted(asked) != list(range(TRIALS)):
            return [f"the ledger has the trials {sorted(asked)}"]
        for number, row in asked.items():
            if row["params"] != self.draws.get(number):
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
        return wrong + (self._mlflow_differs(root, asked) if self.mlflow else [])

    def _mlflow_differs(self, root: Path, asked: dict[int, Any]) -> list[str]:
        query = (
            "SELECT t.value, r.status,"
            " (SELECT value FROM latest_metrics m WHERE m.run_uuid = r.run_uuid AND m.key = 'metric')"
            " FROM runs r JOIN tags t ON t.run_uuid = r.run_uuid AND t.key = 'prunefront.trial'"
            " WHERE r.lifecycle_stage = 'active' ORDER BY t.value"
        )
        runs = _query(root / "store" / "mlflow.db", query)
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


def _kinds(name: str) -> set[str]:
    if name.startswith("commit"):
        return {name.split()[1]}
    return (
        {"files", "refusable"} if name.startswith(("open", "os.mkdir", "os.rename", "os.link")) else {"files"}
    )


def _values(record: TrialRecord) -> tuple[float, ...]:
    assert record.recovered is not None
    return tuple(SPEC.values(vars(record.recovered.measurement)).tolist())


def _query(file: Path, query: str, *values: Any) -> list[Any]:
    with closing(sqlite3.connect(file)) as database:
        return database.execute(query, values).fetchall()


def _ledger(root: Path) -> dict[int, dict[str, Any]]:
    """The trials that were wholly asked for, read without Optuna."""
    file, found = root / "studies.db", {}
    for row, number, state in _query(file, "SELECT trial_id, number, state FROM trials"):
        params = _query(
            file, "SELECT value_json FROM trial_user_attributes WHERE trial_id = ? AND key = 'params'", row
        )
        if params and params[0][0] != "null":
            values = _query(file, "SELECT value FROM trial_values WHERE trial_id = ? ORDER BY objective", row)
            found[number] = {
                "state": state, "params": params[0][0], "values": tuple(v for (v,) in values) or None
            }  # fmt: skip
    return found


def _digests(root: Path) -> dict[str, str]:
    records = (root / "store/studies/s/trials").glob("[0-9]*/record.json")
    return {path.parent.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in records}


def _undo_last(file: Path) -> None:
    """Undo the last commits, as a fail-over to a replica that lags: the last trial is gone, or runs again."""
    with closing(sqlite3.connect(file)) as database:
        rows = database.execute("SELECT trial_id, number, state FROM trials ORDER BY number").fetchall()
        if not rows:
            return
        row, number, state = rows[-1]
        if state != "RUNNING":
            database.execute("UPDATE trials SET state = 'RUNNING' WHERE trial_id = ?", (row,))
            database.execute("DELETE FROM trial_values WHERE trial_id = ?", (row,))
        elif number > 0:
            for table in ("s", "_values", "_params", "_user_attributes", "_system_attributes"):
                database.execute(f"DELETE FROM trial{table} WHERE trial_id = ?", (row,))
        database.commit()


@contextmanager
def hurried() -> Iterator[None]:
    """No pauses between tries, no peaks of memory: neither is what schedules are about."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trial_source, "RETRY_PAUSES_S", (0.0, 0.0))
        patch.setattr(storage, "BUSY_TIMEOUT_S", 5)
        patch.setattr(worker, "_peaks", dict)
        patch.setattr(worker, "_send", lambda _report: None)
        patch.setattr("optuna.storages._rdb.storage.time.sleep", lambda _: None)
        # it reads all migrations of the tables each time: half of a process's time
        versions = "optuna.storages._rdb.storage._VersionManager.check_table_schema_compatibility"
        patch.setattr(versions, lambda _: None)
        yield
