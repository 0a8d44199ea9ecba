"""What is wrong with the books of a schedule's study: ledger, store, and MLflow, compared by value.

Each finding begins with its kind: lost, doubled, overwritten, undead, left over.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from pipeline.study.records import BadInput, TrialRecord
from pipeline.study.store import Store
from tests.kit.actors import SPEC, TRIALS
from tests.kit.books import books_of, query

KINDS = ("lost", "doubled", "overwritten", "undead", "left over", "ended badly")


def audit(root: Path, url: str, draws: dict[int, str] | None = None) -> list[str]:
    """Return what is wrong with ledger and store.

    Args:
        root: of the schedule.
        url: of its ledger.
        draws: what an undisturbed study draws; None if nothing is known of it.
    """
    study, asked = Store(root / "store").study("s"), books_of(url).asked()
    if sorted(asked) != list(range(TRIALS)):
        kind = "lost" if {*asked} < {*range(TRIALS)} else "doubled"
        return [f"{kind}: the ledger has the trials {sorted(asked)}"]
    wrong = []
    for number, row in asked.items():
        if draws is not None and row["params"] != draws.get(number):
            wrong.append(f"overwritten: trial {number} was drawn in another way")
        if row["state"] == "RUNNING":
            wrong.append(f"undead: trial {number} is left running")
        try:
            record = study.read_record(number)
        except BadInput as error:
            wrong.append(f"lost: trial {number}: {error}")
            continue
        values = None if record.recovered is None else _values(record)
        if row["values"] != values:
            wrong.append(f"overwritten: trial {number}: the ledger has {row['values']}, the record {values}")
        weights = study.weights.path(number, "recovered")
        if record.state == "complete" and not weights.is_file():
            wrong.append(f"lost: trial {number}: no weights")
        elif record.state == "complete" and weights.read_text() != record.provenance["pid"]:
            wrong.append(f"overwritten: trial {number}: weights of another process than the record")
    there = (root / "store").rglob("*")
    left = [path for path in there if path.name.endswith(".part") or path.name.startswith("attempt-")]
    return wrong + [f"left over: {path.relative_to(root)}" for path in left]


def exports_differ(root: Path) -> list[str]:
    """Return what exporters that ended well have left wrong: each its scores, a confirmation that is one process's."""
    study, wrong = Store(root / "store").study("s"), []
    ended = {path.name.partition(".")[2] for path in root.glob("said.*") if path.read_text() == "done"}
    there = {str(int(scores.weights_sha256)) for scores in study.exports.read()}
    if not ended <= there:
        wrong.append(f"lost: the test scores of {sorted(ended - there)}")
    confirmed = study.confirmations.read()
    if len(confirmed) != 1:
        wrong.append(f"{'doubled' if confirmed else 'lost'}: {len(confirmed)} confirmations")
    for each in confirmed:
        if each.predictions.tolist() != [int(each.provenance["pid"]) % 1000]:
            wrong.append("overwritten: a confirmation's predictions are another process's")
    return wrong


def mlflow_differs(root: Path, url: str) -> list[str]:
    """Return where MLflow differs from the ledger."""
    words = (
        "SELECT t.value, r.status,"
        " (SELECT value FROM latest_metrics m WHERE m.run_uuid = r.run_uuid AND m.key = 'metric')"
        " FROM runs r JOIN tags t ON t.run_uuid = r.run_uuid AND t.key = 'prunefront.trial'"
        " WHERE r.lifecycle_stage = 'active' ORDER BY t.value"
    )
    runs, asked = query(root / "store" / "mlflow.db", words), books_of(url).asked()
    numbers, wrong = [int(number) for number, *_ in runs], []
    if numbers != list(range(TRIALS)):
        kind = "doubled" if len(numbers) > len({*numbers}) else "lost"
        wrong.append(f"{kind}: MLflow has the trials {numbers}")
    for number, status, metric in runs:
        values = asked[int(number)]["values"]
        if status == "RUNNING":
            wrong.append(f"undead: MLflow: trial {number} is left running")
        if values is not None and (metric is None or abs(metric - float(f"{values[0]:.6g}")) > 1e-9):
            wrong.append(f"overwritten: MLflow has {metric} of trial {number}, the ledger {values[0]}")
    return wrong


def read_all(root: Path) -> list[str]:
    """Read all of a study, as `show` and `report` do; return what a reader is told wrongly."""
    store = Store(root / "store")
    if "s" not in store.list_studies():
        return []
    try:
        study = store.study("s")
        study.read_points()
        for number in study.finished_numbers():
            study.read_record(number)
        study.confirmations.read()
        study.exports.read()
    except Exception as error:
        return [f"ended badly: a reader: {type(error).__name__}: {error}"]
    return []


def digests(root: Path) -> dict[str, str]:
    """Return what each record is, by its trial's folder."""
    records = (root / "store/studies/s/trials").glob("[0-9]*/record.json")
    return {path.parent.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in records}


def changed(root: Path, before: dict[str, str]) -> bool:
    """Return whether a record is gone, or another one than `before`."""
    now = digests(root)
    return any(now.get(number) != was for number, was in before.items())


def _values(record: TrialRecord) -> tuple[float, ...]:
    assert record.recovered is not None
    return tuple(SPEC.values(vars(record.recovered.measurement)).tolist())
