"""A study and its trials in MLflow: parameters, numbers, tags and tables, as plain values.

Nothing here connects to MLflow. In a trial's run, `metric`, `compression`, `parameters` ... are those of its recovered
network; `training/...` and `unit_norm/...` are plotted over its epochs, `curve/...` over compression, or sparsity, in
percent. MLflow draws groups by the alphabet: metric and loss come before the many norms. Numbers have six digits, for
reading; records have all of them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from hashlib import sha256
from typing import Any

from pipeline.driver.tracking.values import Status, Value
from pipeline.fronts.front import Front, FrontPoint
from pipeline.study.records import Measurement, ParamValue, Point, State, StudySpec, TrialRecord
from pipeline.study.store import DataFacts, Shape

STUDY = "prunefront.study"  # tag: the study's name
SPEC = "prunefront.spec"  # tag of a study's run: fingerprint of its spec
TRIAL = "prunefront.trial"  # tag of a trial's run: its number in the ledger
STATE = "prunefront.state"
REASON = "prunefront.reason"

STATUS: dict[State, Status] = {"complete": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}
ENDED: dict[str, State] = {status: state for state, status in STATUS.items()}

STANDING = "trials"  # metric of a study's run: how many have ended
DENSE = "dense_metric"  # metric of a study's run: its dense anchor
# metric of a trial's run, whose step is compression, or sparsity, in percent
BY_PERCENT = {share: f"curve/metric_by_{share}_percent" for share in ("compression", "sparsity")}
CURVE, FRONT = "curve.json", "front.json"
NORM, UNIT_NORM = "norm/", "unit_norm/"  # in a record, and in MLflow: behind "training/"
LETTERS = 1000  # of a reason
HALF = 0.5

MEASURED = tuple(field.name for field in fields(Measurement) if field.name != "metrics")


Table = dict[str, list[Any]]  # {"columns": [...], "data": [rows]}: what MLflow reads as a table


def fingerprint(spec: StudySpec) -> str:
    """Return the sha256 of a study's spec, without later fields at their defaults: so older runs are found."""
    late = StudySpec.late_fields()
    known = {key: value for key, value in asdict(spec).items() if key not in late or value != late[key]}
    return sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


def shown(value: ParamValue) -> str:
    """Return a parameter as MLflow shows it: floats to six digits (the record has all of them)."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def clipped(text: str) -> str:
    """Return a text that fits: MLflow refuses tags of more than 8,000 characters."""
    return text if len(text) <= LETTERS else text[: LETTERS - 1] + "…"


def provenance_tags(provenance: Mapping[str, str]) -> dict[str, str]:
    """Return the tags of versions, commit and hardware; the commit also under MLflow's own key."""
    tags = {key: value for key, value in provenance.items() if value}
    if "commit" in tags:
        tags["mlflow.source.git.commit"] = tags["commit"].removesuffix("+")
    return tags


def data_tags(data: DataFacts) -> dict[str, str]:
    """Return the tags of a study's rows: how many each part has, how many two parts share, how many are cut.

    Of a model that was cut before, or whose vocabulary is trimmed, also its sizes before.
    """
    counts = {f"data/rows_{part}": count for part, count in data.rows.items()}
    counts |= {f"data/shared_{pair.replace('+', '_')}": count for pair, count in data.shared.items()}
    counts |= {f"data/cut_{part}": count for part, count in data.cut.items()}
    if data.original is not None:
        counts |= {f"model/before/{key}": count for key, count in asdict(data.original).items()}
    return {key: str(count) for key, count in counts.items()}


def study_tags(spec: StudySpec) -> dict[str, str]:
    """Return the tags by which a study's run is found."""
    return {STUDY: spec.name, SPEC: fingerprint(spec)}


def study_params(spec: StudySpec) -> dict[str, str]:
    """Return a study's fields and its dense anchor as parameters; its space is an artifact."""
    is_metric = ("constant", "dense")
    flat = {key: value for key, value in asdict(spec).items() if key not in ("name", "space_toml", "anchors")}
    flat |= {key: value for key, value in asdict(spec.anchors).items() if key not in is_metric}
    return {key: shown(value) for key, value in flat.items()}


def study_values(spec: StudySpec, *, milliseconds: int) -> list[Value]:
    """Return the anchors' metrics."""
    anchors = {DENSE: spec.anchors.dense, "constant_metric": spec.anchors.constant}
    return _values(anchors, step=0, milliseconds=milliseconds)


def front_values(found: Front, *, milliseconds: int) -> list[Value]:
    """Return a study's numbers after `found.trials` trials, which is the step."""
    half = [point.metric for point in found.points if getattr(point, found.spec.share) >= HALF]
    values = {
        "hypervolume": found.hypervolume,
        "hypervolume_normalised": found.hypervolume_normalised,
        "front_size": len(found.points),
        "metric_at_50_percent": max(half, default=math.nan),
        STANDING: found.trials,
        "trials_failed": found.left_out["failed"],
        "trials_stopped": found.left_out["stopped"],
        "epochs": found.epochs,
        "seconds": found.seconds,
    }
    return _values(values, step=found.trials, milliseconds=milliseconds)


def front_table(found: Front) -> Table:
    """Return the front, a row per network, by rising gain: its measurements, then its parameters."""
    settings = list(dict.fromkeys(name for point in found.points for name in point.params))
    dense = found.spec.anchors.dense
    share = found.spec.share
    columns = [share, "metric", "drop", "trial", "kind", "round"]
    measured = [name for name in MEASURED if name not in columns]
    shapes = list(dict.fromkeys(each.bench.shape for point in found.points for each in point.latencies))
    timed = ["speedup", "latency_source", *(f"latency_ms_{shape}" for shape in shapes)]
    rows = [
        [getattr(point, share), point.metric, dense - point.metric, point.trial, point.kind, point.round]
        + [getattr(point, name) for name in measured]
        + [point.speedup, point.latency_source, *_times(point, shapes)]
        + [point.params.get(name) for name in settings]
        for point in found.points
    ]
    return _table([*columns, *measured, *timed, *settings], rows)


def _times(point: FrontPoint, shapes: Sequence[Shape]) -> list[float | None]:
    """Return the latency of the whole network at each of the shapes, in milliseconds."""
    known = {each.bench.shape: each.ms for each in point.latencies}
    return [known.get(shape) for shape in shapes]


def trial_tags(record: TrialRecord, *, study: str) -> dict[str, str]:
    """Return the tags by which a trial's run is found, and its provenance."""
    tags = {
        STUDY: study,
        TRIAL: str(record.number),
        STATE: record.state,
        REASON: clipped(record.reason),
        "prunefront.seed": str(record.seed),
        "prunefront.attempts": str(record.attempts),
    }
    return {key: value for key, value in tags.items() if value} | provenance_tags(record.provenance)


def trial_params(record: TrialRecord) -> dict[str, str]:
    """Return a trial's parameters."""
    return {key: shown(value) for key, value in record.params.items()}


def trial_values(record: TrialRecord, *, start: int) -> list[Value]:
    """Return all numbers of a trial that began at `start` (milliseconds since 1970).

    The same record and start give the same values, so that writing them twice changes nothing.
    """
    end = start + round(1000 * record.seconds)
    values = _values({"epochs": record.epochs, "seconds": record.seconds}, step=0, milliseconds=end)
    if record.recovered is not None:
        measured = record.recovered.measurement
        numbers = {name: getattr(measured, name) for name in MEASURED if getattr(measured, name) is not None}
        scores = {f"score/{name}": value for name, value in measured.metrics.items() if name != "metric"}
        values += _values(numbers | scores, step=0, milliseconds=end)
    for step, row in enumerate(record.history, start=1):
        named = {_plotted(name): value for name, value in row.values.items()}
        part = row.epoch / record.epochs if record.epochs else 1.0
        when = start + round(1000 * record.seconds * min(part, 1.0))
        values += _values(named | {"training/epoch": row.epoch}, step=step, milliseconds=when)
    by_percent: dict[tuple[str, int], float] = {}
    for point in last_curve(record):
        found = point.measurement
        share = "compression" if found.nonzero_parameters is None else "sparsity"
        by_percent.setdefault((BY_PERCENT[share], round(100 * found.share)), found.metric)
    for (name, percent), metric in by_percent.items():
        values += _values({name: metric}, step=percent, milliseconds=end)
    return values


def _plotted(name: str) -> str:
    """Return the name of a number of a history in MLflow; runs of earlier versions have `norm/...`."""
    if name.startswith(NORM):
        return UNIT_NORM + name.removeprefix(NORM)
    return name if "/" in name else f"training/{name}"


def last_curve(record: TrialRecord) -> tuple[Point, ...]:
    """Return the points of the last round's curve."""
    curve = [point for point in record.points if point.kind == "curve"]
    return tuple(point for point in curve if point.round == curve[-1].round)


def curve_table(record: TrialRecord) -> Table:
    """Return a trial's points, a row each: the network and its measurements."""
    columns = ["kind", "round", "threshold", "attention_blocks", "heads", "ffn_blocks", "neurons", *MEASURED]
    rows = [
        [
            point.kind,
            point.round,
            point.threshold,
            int(point.masks.heads.any(axis=1).sum()),
            int(point.masks.heads.sum()),
            int(point.masks.neurons.any(axis=1).sum()),
            int(point.masks.neurons.sum()),
            *(getattr(point.measurement, name) for name in MEASURED),
        ]
        for point in record.points
    ]
    return _table(columns, rows)


def _values(numbers: Mapping[str, float], *, step: int, milliseconds: int) -> list[Value]:
    """Return the finite numbers: NaN is no measurement, and MLflow turns infinity into 1.8e308."""
    return [
        Value(key, float(_rounded(number)), step, milliseconds)
        for key, number in numbers.items()
        if math.isfinite(number)
    ]


def _rounded(value: Any) -> Any:
    """Round floats to six digits, for reading (records have all); JSON has no NaN and no infinity."""
    if not isinstance(value, float):
        return value
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    """Return pandas' "split" form, which MLflow shows as a table, without columns that are empty in all rows."""
    filled = [at for at in range(len(columns)) if not rows or any(row[at] is not None for row in rows)]
    return {
        "columns": [columns[at] for at in filled],
        "data": [[_rounded(row[at]) for at in filled] for row in rows],
    }
