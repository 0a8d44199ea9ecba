"""What a study, its store and MLflow hold, and where they differ: nothing may be lost, doubled or undead."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import optuna
from mlflow import MlflowClient

from pipeline.study.store import Store

STUDY = "chaos"
ENDED = {"COMPLETE", "PRUNED", "FAIL"}


@dataclass(frozen=True)
class Running:
    """A trial that has not ended, as its folder shows it."""

    number: int
    attempts: int
    has_checkpoint: bool


@dataclass(frozen=True)
class Audit:
    """The books of a study that has ended; each list is empty where all is well."""

    trials: int
    states: dict[str, int]
    lost: list[str]
    doubled: list[str]
    undead: list[str]
    repeated: list[str]  # finished work that was done again
    from_nothing: list[str]  # trials that began anew although a checkpoint was there
    resumed: list[int]  # trials that went on from a checkpoint
    failed: dict[int, str]

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong; a trial that failed by itself, or whose worker was lost too often, is a fact."""
        return not (self.lost or self.doubled or self.undead or self.repeated or self.from_nothing)


def records(store: Path) -> dict[int, int]:
    """Trials that have ended, with the time at which each record was written, in ns."""
    found: dict[int, int] = {}
    for path in (store / "studies" / STUDY / "trials").glob("*/record.json"):
        found[int(path.parent.name)] = path.stat().st_mtime_ns
    return found


def running(store: Path) -> tuple[Running, ...]:
    """Trials that were begun and have no record."""
    found = []
    for folder in sorted((store / "studies" / STUDY / "trials").glob("*")):
        attempts = [path for path in folder.glob("attempt-*") if path.is_dir()]
        if attempts and not (folder / "record.json").exists():
            whole = any(folder.glob("attempt-*/checkpoint-*/record.json"))
            found.append(Running(int(folder.name), len(attempts), whole))
    return tuple(found)


def audit(
    root: Path,
    tracking: str,
    *,
    trials: int,
    seen: list[dict[int, int]],
    interrupted: list[tuple[Running, ...]],
) -> Audit:
    """Reads all three books.

    Args:
        root: the store.
        tracking: MLflow's address.
        trials: that the study was asked for.
        seen: what `records` gave at each blow.
        interrupted: what `running` gave at each blow.
    """
    store = Store(root)
    at_end = records(root)
    study = optuna.load_study(study_name=STUDY, storage=f"sqlite:///{root}/studies.db")
    states = {trial.number: trial.state.name for trial in study.trials}
    children, parents = _runs(tracking)
    lost = [f"trial {n}: no record" for n in range(trials) if n not in at_end]
    lost += [f"trial {n}: not in the study" for n in range(trials) if n not in states]
    lost += [f"trial {n}: not in MLflow" for n in range(trials) if n not in children]
    lost += [] if parents else ["no parent run in MLflow"]
    draws = Counter(json.dumps(trial.params, sort_keys=True) for trial in study.trials)
    doubled = [f"{times} trials of the study have {draw}" for draw, times in draws.items() if times > 1]
    doubled += [f"trial {n} has {len(found)} runs" for n, found in children.items() if len(found) > 1]
    doubled += [f"{len(parents)} parent runs"] if len(parents) > 1 else []
    doubled += [f"trial {n} was never asked for" for n in {*at_end, *states, *children} if n >= trials]
    undead = [f"trial {n} is {state} in the study" for n, state in states.items() if state not in ENDED]
    undead += [f"trial {n} is RUNNING in MLflow" for n, found in children.items() if "RUNNING" in found]
    undead += ["the parent run is RUNNING"] if "RUNNING" in parents else []
    before = {(n, when) for snapshot in seen for n, when in snapshot.items()}
    repeated = [f"the record of trial {n} was written again" for n, when in before if at_end.get(n) != when]
    ended = {n: store.study(STUDY).read_record(n) for n in at_end}
    resumed = sorted(n for n, record in ended.items() if "resumed_at_epoch" in record.provenance)
    with_checkpoint = {one for blow in interrupted for one in blow if one.has_checkpoint}
    again = {one.number for one in with_checkpoint if ended[one.number].attempts > one.attempts}
    from_nothing = [f"trial {n} began anew" for n in sorted(again - set(resumed))]
    failed = {n: record.reason for n, record in ended.items() if record.state == "failed"}
    counted = dict(Counter(states.values()))
    return Audit(trials, counted, lost, doubled, undead, repeated, from_nothing, resumed, failed)


def _runs(tracking: str) -> tuple[dict[int, list[str]], list[str]]:
    """Statuses of the child runs by trial, and of the parents."""
    client = MlflowClient(tracking)
    experiments = [one.experiment_id for one in client.search_experiments() if "toy" in one.name]
    runs = client.search_runs(experiments, max_results=5000)
    children: dict[int, list[str]] = {}
    for run in runs:
        if "mlflow.parentRunId" in run.data.tags:
            children.setdefault(int(run.data.tags["prunefront.trial"]), []).append(run.info.status)
    return children, [run.info.status for run in runs if "mlflow.parentRunId" not in run.data.tags]
