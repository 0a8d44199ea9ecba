"""What a study's recovered networks, and its dense one, come to on test rows; kept, so that each is opened once."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pipeline.export.network import network_of
from pipeline.export.reopen import Reopened, reopen
from pipeline.fronts.front import load_front
from pipeline.model.source import build, read_weights
from pipeline.study.store import Store
from pipeline.trial.anchors import weights_file
from pipeline.trial.measure import evaluate
from pipeline.trial.training.precision import resolve_precision

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Scored:
    """One network on test rows: of a trial, after recovery; `trial` is -1 for the dense one."""

    trial: int
    target: float
    compression: float  # sparsity, of single weights
    validation: float
    test: float
    epochs: float


@dataclass(frozen=True)
class StudyScore:
    """A study's networks on test rows, and what it says on validation."""

    study: str
    metric_name: str
    hypervolume_normalised: float
    constant: float
    networks: tuple[Scored, ...]


def score_file(store: Path, study: str) -> Path:
    """Where a study's scores lie."""
    return store / "comparison" / f"{study}.json"


def scored_names(store: Path, beginning: str, end: str) -> list[str]:
    """The scored studies whose names begin and end so."""
    files = sorted((store / "comparison").glob(f"{beginning}*{end}.json"))
    return [file.stem for file in files]


def read_score(store: Path, study: str) -> StudyScore | None:
    """What `score_study` found before; None if it has not been asked yet."""
    path = score_file(store, study)
    if not path.exists():
        return None
    found = json.loads(path.read_text())
    return StudyScore(**{**found, "networks": tuple(Scored(**each) for each in found["networks"])})


def score_study(store: Path, study: str) -> StudyScore:
    """Evaluates a finished study's recovered networks on the test rows of its task."""
    known = read_score(store, study)
    if known is not None:
        return known
    opened = reopen(Store(store), study)
    numbers = opened.store.study(study).finished_numbers()
    networks = [found for number in numbers if (found := _score(opened, number)) is not None]
    networks += _dense(opened)
    front = load_front(study, store=store)
    score = StudyScore(
        study,
        front.spec.metric_name,
        front.hypervolume_normalised,
        front.spec.anchors.constant,
        tuple(networks),
    )
    path = score_file(store, study)
    path.parent.mkdir(exist_ok=True)
    path.with_suffix(".part").write_text(json.dumps(asdict(score), indent=1))
    path.with_suffix(".part").replace(path)
    return score


def _score(opened: Reopened, number: int) -> Scored | None:
    """The recovered network of a trial; None if it has none (it failed, or was at chance after its cut)."""
    record = opened.store.study(opened.spec.name).read_record(number)
    point = record.recovered
    if point is None:
        return None
    network = network_of(opened, number, record.points.index(point))
    return Scored(
        number,
        float(record.params["target"]),
        point.measurement.share,
        point.measurement.metric,
        _on_test(opened, network.model),
        record.epochs,
    )


def _dense(opened: Reopened) -> list[Scored]:
    """The dense network that the study is read against, from the store's cache, if it is still there."""
    anchors = opened.spec.anchors
    for about in sorted((opened.store.cache / "dense").glob("*/dense.json")):
        known = json.loads(about.read_text())
        if (known["metric"], known["learning_rate"]) == (anchors.dense, anchors.dense_learning_rate):
            weights = read_weights(weights_file(about.parent))
            model, _ = build(replace(opened.inputs.source, weights=weights), seed=0)
            model.train(False)
            return [Scored(-1, 0.0, 0.0, anchors.dense, _on_test(opened, model), anchors.dense_epochs)]
    return []


def _on_test(opened: Reopened, model: PreTrainedModel) -> float:
    inputs = opened.inputs
    found = evaluate(
        model,
        opened.test(),
        inputs.kind,
        precision=resolve_precision(inputs.precision, CPU),
    )
    return float(found.metrics["metric"])
