"""What a study, its store and MLflow hold, and where they differ: nothing may be lost, doubled or undead."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import optuna
from mlflow import MlflowClient

from pipeline.study.ledger.storage import driver_url
from pipeline.study.store import Store

STUDY = "chaos"
ENDED = {"COMPLETE", "PRUNED", "FAIL"}


@dataclass(frozen=True)
class Running:
    """A trial that has not ended, as its folder shows it."""

    number: int
    attempts: int
    has_checkpoint: bool
    from_start: tuple[int, ...] = ()  # attempts whose own checkpoint says that they went on from none
    resumed: tuple[
        int, ...
    ] = ()  # attempts whose own checkpoint says that they went on from an earlier one's


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


def files(store: Store) -> dict[str, int]:
    """All that is in the folders of the trials, by name below them, with a stamp that a new writing changes."""
    folder, bucket = store.study(STUDY).folder / "trials", store.bucket
    if bucket is not None:
        listing = bucket._client.listing(f"studies/{STUDY}/trials")
        return {name.split("/", 3)[3]: found.stamp for name, found in listing.items()}
    there: dict[str, int] = {}
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # it is gone by now
            there[path.relative_to(folder).as_posix()] = path.stat().st_mtime_ns
    return there


def signs(store: Store) -> set[str]:
    """What shows that trials begin, get on and end: attempts' checkpoints, and records."""
    return {name for name in files(store) if "/checkpoint-" in name or name[5:] == "/record.json"}


def records(store: Store) -> dict[int, int]:
    """Trials that have ended, with a stamp of when each record was written."""
    return {int(name[:5]): stamp for name, stamp in files(store).items() if name[5:] == "/record.json"}


def running(store: Store) -> tuple[Running, ...]:
    """Trials that were begun and have no record."""
    names = [name.split("/") for name in files(store)]
    ended = {parts[0] for parts in names if parts[1:] == ["record.json"]}
    attempts = {(parts[0], parts[1]) for parts in names if len(parts) > 1 and parts[1].startswith("attempt-")}
    whole = {
        parts[0]
        for parts in names
        if parts[2:3] and parts[2].startswith("checkpoint-") and parts[3:] == ["record.json"]
    }
    begun = sorted({trial for trial, _ in attempts} - ended)
    found = []
    for trial in begun:
        own = dict(_went_on(store, [parts for parts in names if parts[0] == trial]))
        found.append(
            Running(
                int(trial),
                sum(of == trial for of, _ in attempts),
                trial in whole,
                tuple(sorted(n for n, went in own.items() if not went)),
                tuple(sorted(n for n, went in own.items() if went)),
            )
        )
    return tuple(found)


def _went_on(store: Store, names: list[list[str]]) -> Iterator[tuple[int, bool]]:
    """Yield the number of each attempt that has a checkpoint, and whether its record says that it went on from one."""
    for parts in names:
        if parts[2:3] and parts[2].startswith("checkpoint-") and parts[3:] == ["record.json"]:
            with suppress(OSError, ValueError):  # a later one has replaced it
                record = json.loads(_read(store, "/".join(parts)))
                yield int(parts[1].split("-")[1]), "resumed_at_epoch" in record["provenance"]


def _read(store: Store, name: str) -> bytes:
    """Return what a file in the trials' folder holds, in the bucket if the store has one."""
    bucket = store.bucket
    if bucket is not None:
        return bucket._client.read(f"studies/{STUDY}/trials/{name}")
    return (store.study(STUDY).folder / "trials" / name).read_bytes()


def began_anew(interrupted: list[tuple[Running, ...]]) -> set[int]:
    """Return the trials with an attempt that began at the start though a checkpoint was there at an earlier blow."""
    return {
        one.number
        for at, blow in enumerate(interrupted)
        for one in blow
        if one.has_checkpoint
        for later in interrupted[at + 1 :]
        for each in later
        if each.number == one.number and any(number > one.attempts for number in each.from_start)
    }


def audit(
    store: Store,
    ledger: str,
    tracking: str,
    *,
    trials: int,
    seen: list[dict[int, int]],
    interrupted: list[tuple[Running, ...]],
) -> Audit:
    """Reads all three books.

    Args:
        store: the store.
        ledger: the ledger's address.
        tracking: MLflow's address.
        trials: that the study was asked for.
        seen: what `records` gave at each blow.
        interrupted: what `running` gave at each blow.
    """
    at_end = records(store)
    store.study(STUDY).refresh()
    study = optuna.load_study(study_name=STUDY, storage=driver_url(ledger))
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
    # the record of one that was given up says nothing of its attempts; their checkpoints did
    given_up = {n for n, record in ended.items() if record.state == "failed"}
    anew = (again - set(resumed) - given_up) | began_anew(interrupted)
    from_nothing = [f"trial {n} began anew" for n in sorted(anew)]
    failed = {n: f"{ended[n].reason}; {_seen_of(n, interrupted)}" for n in sorted(given_up)}
    counted = dict(Counter(states.values()))
    return Audit(trials, counted, lost, doubled, undead, repeated, from_nothing, resumed, failed)


def _seen_of(number: int, interrupted: list[tuple[Running, ...]]) -> str:
    """Return which attempts of a trial were seen to go on from a checkpoint, and which from the start."""
    seen = [one for blow in interrupted for one in blow if one.number == number]
    resumed, fresh = ({n for one in seen for n in getattr(one, key)} for key in ("resumed", "from_start"))
    return f"attempts seen to go on from a checkpoint {sorted(resumed)}, from the start {sorted(fresh)}"


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
