"""Protections taken away one by one: the schedules must notice. `python -m tests.faults.mutants` prints which do.

A mutant is a patch of the running program, made before its processes are forked, and the faults that it protects
from. Its schedules are tried until one shows something wrong.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.driver.tracking import doubles
from pipeline.study import whole_file
from pipeline.study.ledger import lease_table
from pipeline.study.ledger import ledger as ledger_room
from pipeline.study.ledger.guarded import GuardedWrites
from pipeline.study.ledger.lease import Lease
from pipeline.study.ledger.ledger import Ledger
from pipeline.study.store import attempts, confirmations, seen_record, weights, written_once
from pipeline.study.store import study as study_room
from pipeline.study.store.attempts import remove
from pipeline.study.store.study import StudyStore
from tests.faults.every import in_memory
from tests.kit.postgres import PASSWORD, Server, binaries, postgres
from tests.kit.schedules import Outcome, Schedule, Study, hurried

Patch = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Mutant:
    """A protection that is gone."""

    name: str
    faults: tuple[str, ...]
    patch: Patch
    actor: str = "driver"
    mlflow: bool = False
    stops: bool = False
    on_server: bool = False  # its ledger is on PostgreSQL, where others may write while a commit stands still


def _nothing(*_: Any, **__: Any) -> None:
    return None


_sync = whole_file._sync


def _folders_alone(path: Path) -> None:
    if path.is_dir():
        _sync(path)


def _forgetful(patch: pytest.MonkeyPatch) -> None:
    """Either is enough: a record whose name was lost is missed at the next start."""
    patch.setattr(whole_file, "_sync_folder", _nothing)
    patch.setattr(Ledger, "_reopen", lambda *_: ())


def _unknown_searches(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(StudyStore, "has_begun_anew", lambda _: False)
    patch.setattr(seen_record, "is_of_another", lambda *_: False)
    patch.setattr(study_room, "is_of_another", lambda *_: False)


def _none_of(_spec: Any, records: Any, **_: Any) -> bool:
    return not list(records)


def _replacing(path: Path, data: bytes) -> bool:
    whole_file.write_whole(path, data)
    return True


def _unguarded(self: GuardedWrites, check: Any = None) -> Any:
    del check

    @contextmanager
    def bare() -> Iterator[None]:
        with ledger_room.database_errors(self.url):
            yield

    return bare()


def _any_weights(self: StudyStore, number: int, known: Any = None) -> None:
    """Complete a trial with the weights of whatever attempts there are."""
    folders = self.attempts(number).folders() if known is None else known
    self.weights.take(number, folders)
    remove(folders)


def _first_of_two(mlflow: Any, experiment_id: str, run_id: str) -> dict[int, Any]:
    found: dict[int, Any] = {}
    for run in mlflow.runs(experiment_id, tag=doubles.PARENT, value=run_id):
        if doubles.TRIAL in run.tags:
            found[-1 - len(found)] = run  # none is recognised
    return found


def _moved_without_flush(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    source.replace(target)


def _gone(name: str, *faults: str, where: Any, key: str, instead: Any, **kind: Any) -> Mutant:
    return Mutant(name, faults, lambda patch: patch.setattr(where, key, instead), **kind)


NO_CHANCE = SimpleNamespace(token_hex=lambda _: "00000000")
MUTANTS = (
    _gone(
        "the lease is not checked",
        "pause",
        where=Lease,
        key="_refuse_other",
        instead=_nothing,
    ),
    _gone(
        "the lease is not checked in a write's transaction",
        "pause",
        where=Lease,
        key="check_in",
        instead=_nothing,
        on_server=True,
    ),
    _gone(
        "a record replaces one that is there",
        "pause",
        "orphan",
        where=written_once,
        key="write_new",
        instead=_replacing,
    ),
    _gone("files are not flushed", "power", where=whole_file, key="_sync", instead=_folders_alone),
    _gone(
        "moved weights are not flushed with their folder",
        "power",
        where=weights,
        key="move",
        instead=_moved_without_flush,
    ),
    _gone(
        "a trial whose commit was not answered is not recognised",
        "answer lost",
        where=ledger_room,
        key="NONCE",
        instead="x",
    ),
    _gone(
        "a draw's number is not checked in its transaction",
        "answer lost",
        where=GuardedWrites,
        key="__call__",
        instead=_unguarded,
    ),
    _gone(
        "records of lost commits are strangers'", "undone", where=ledger_room, key="are_of", instead=_none_of
    ),
    Mutant(
        "names are not flushed with their folder, and what is lost is not run again", ("power",), _forgetful
    ),
    _gone(
        "attempts of one number have one name",
        "pause",
        "orphan",
        where=attempts,
        key="secrets",
        instead=NO_CHANCE,
    ),
    _gone(
        "weights are taken from any attempt",
        "pause",
        "orphan",
        where=StudyStore,
        key="complete",
        instead=_any_weights,
    ),
    Mutant(
        "workers of an earlier search of the name are not known",
        ("pause", "orphan"),
        _unknown_searches,
        actor="earlier",
    ),
    _gone(
        "what killed processes left is not completed",
        "kill",
        where=StudyStore,
        key="complete_all",
        instead=_nothing,
    ),
    _gone(
        "two confirmations write one file",
        "pause",
        where=confirmations,
        key="secrets",
        instead=NO_CHANCE,
        actor="exporter",
    ),
    _gone(
        "runs that are there twice stay",
        "answer lost",
        "kill",
        where=doubles,
        key="trials_of",
        instead=_first_of_two,
        mlflow=True,
    ),
)
STRIDE = 7  # of schedules: neighbours are alike, so that every seventh is tried first


def killing(mutant: Mutant, folder: Path) -> tuple[int, Outcome | None]:
    """Return how many schedules were tried, and the first that shows the mutant; None if none does."""
    tried = 0
    with pytest.MonkeyPatch.context() as patch, _server(mutant, patch) as server:
        mutant.patch(patch)
        # made with it: a protection that is gone makes other points
        study = Study(folder, actor=mutant.actor, mlflow=mutant.mlflow, stops=mutant.stops, server=server)
        every = [each for each in (*study.schedules(), *study.at_once()) if each.fault in mutant.faults]
        if server is not None:  # files are the same with any ledger
            every = [each for each in every if study.points[each.at - 1].startswith("commit before")]
        for first in range(STRIDE):
            for schedule in every[first::STRIDE]:
                tried += 1
                outcome = _outcome(study, schedule)
                if outcome.wrong:
                    return tried, outcome
    return tried, None


@contextmanager
def _server(mutant: Mutant, patch: pytest.MonkeyPatch) -> Iterator[Server | None]:
    if not mutant.on_server:
        yield None
        return
    patch.setattr(lease_table, "IDLE_S", 1.0)
    patch.setenv("PGPASSWORD", PASSWORD)
    with postgres() as server:
        yield server


def _outcome(study: Study, schedule: Schedule) -> Outcome:
    try:
        return study.try_out(schedule)
    except Exception as error:  # an audit that cannot even read
        return Outcome(schedule, "", [f"{type(error).__name__}: {error}"])


def main() -> int:
    """Print which schedule shows each mutant; return how many none shows."""
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    alive = tried_all = 0
    with hurried(), in_memory() as folder:
        for number, mutant in enumerate(MUTANTS):
            if mutant.on_server and binaries() is None:
                print(f"{mutant.name}: not tried, no PostgreSQL server here (apt-get install postgresql)")
                continue
            began = time.monotonic()
            tried, found = killing(mutant, folder / str(number))
            alive += found is None
            shown = (
                "LIVES"
                if found is None
                else f"{found.schedule}, {found.point.split('/')[-1]}: {found.wrong[0][:240]!r}"
            )
            print(f"{mutant.name}: {tried} schedules, {time.monotonic() - began:.0f} s, {shown}", flush=True)
            tried_all += 1
    print(f"{tried_all - alive} of {tried_all} are shown: {100 * (1 - alive / tried_all):.0f} %")
    return alive


if __name__ == "__main__":
    sys.exit(min(main(), 1))
