"""The network of a point: from its kept weights, or trained again with the recorded cuts imposed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.export.reopen import Reopened
from pipeline.model.anatomy import Anatomy
from pipeline.model.source import build, load_weights, save_weights
from pipeline.model.surgery import cut
from pipeline.study.metrics import standard_error
from pipeline.study.records import (
    UNRECOVERED,
    Ask,
    BadInput,
    Masks,
    NetworkLost,
    Point,
    PointRef,
    TrialRecord,
)
from pipeline.study.store import RECOVERED, Retrained, before_cut, send
from pipeline.trial.inputs import OnEpoch
from pipeline.trial.job import TrialJob
from pipeline.trial.replay import cut_trained, replay_trial
from pipeline.trial.training.loss_checks import TrainingFailed
from pipeline.trial.training.process import threads

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, eq=False)
class Network:
    """The network of one point of a trial: cut, in eval mode, without hooks, on the CPU.

    `retrained` is there if it had to be trained again, now or earlier: its metric may then differ from the
    record's.
    """

    model: PreTrainedModel
    anatomy: Anatomy
    record: TrialRecord
    point: Point
    retrained: Retrained | None


def network_of(study: Reopened, trial: int, point: int, *, on_epoch: OnEpoch = lambda _: None) -> Network:
    """Return the network of a point; if its weights are gone it is trained again, which takes as long as its trial.

    Args:
        study: opened again.
        trial: its number.
        point: the place among the trial's points.
        on_epoch: called with the losses after each epoch of a training.

    Raises:
        BadInput: there is no such trial or point, or its weights are damaged.
        NetworkLost: it was trained again, and diverged.
    """
    record = study.store.study(study.spec.name).read_record(trial)
    if not 0 <= point < len(record.points):
        raise BadInput(
            f"Trial {trial} of {study.spec.name!r} has {len(record.points)} points, numbered from 0; "
            f"requested was {point}."
        )
    chosen = record.points[point]
    weights = study.store.study(study.spec.name).weights
    place = PointRef(trial, point, chosen.kind, chosen.round)
    path = weights.of_point(place)
    if path is not None and path.stem != RECOVERED and _trained_after_curve(record, chosen):
        path = None  # those of its round's curve are kept, its own are not
    if path is None:
        path = _train_again(study, record, chosen, on_epoch)
        network = _load(study, record, chosen, path)
        weights.note_retrained(trial, point, _measured_again(study, network[0], chosen))
    else:
        network = _load(study, record, chosen, path)
    return Network(*network, record, chosen, weights.retrained(place))


def _trained_after_curve(record: TrialRecord, point: Point) -> bool:
    """Return whether a point's network was trained on after the curve of its round.

    The rounds of a ladder and of a chain have no curve; a recovery in vain was left out.
    """
    if record.provenance.items() >= UNRECOVERED.items():
        return False
    curve = any(other.kind == "curve" and other.round == point.round for other in record.points)
    return point.kind == "recovered" and curve and float(record.params["recover_epochs"]) > 0


def _load(study: Reopened, record: TrialRecord, point: Point, path: Path) -> tuple[PreTrainedModel, Anatomy]:
    """Load the point's network from a file of weights."""
    model, anatomy = build(study.inputs.source, seed=record.seed)
    held = point.masks if path.stem == RECOVERED else _held(record, point.round)
    anatomy = cut(model, anatomy, held)
    scores = load_weights(model, path)
    with threads(int(record.provenance.get("threads", "1"))):  # the same sums as in the trial
        anatomy = cut_trained(
            study.inputs, record.params, model, anatomy, point.masks, scores=scores, threshold=point.threshold
        )
    model.train(False)
    return model, anatomy


def _held(record: TrialRecord, round_: int) -> Masks:
    """Return the masks before a round's cut: its first point is the network as it was trained."""
    return next(point.masks for point in record.points if point.round == round_)


def _train_again(study: Reopened, record: TrialRecord, point: Point, on_epoch: OnEpoch) -> Path:
    """Train the network again that the point is cut from, and store its weights."""
    recovered = _trained_after_curve(record, point)
    cuts = [_held(record, later) for later in range(1, point.round + 1)]
    cuts += [point.masks] if recovered else []
    job = TrialJob(Ask(record.number, record.params, record.seed), checkpoint_s=math.inf, keep_weights=False)
    try:
        again = replay_trial(study.inputs, job, on_epoch, cuts=tuple(cuts))
    except TrainingFailed as failure:
        raise NetworkLost(
            f"The weights of trial {record.number}'s network are gone, and training it again failed: {failure}. "
            "Another machine, or other threads, round otherwise. Choose another network of the front, by --point."
        ) from failure
    path = study.store.study(study.spec.name).weights.path(
        record.number, RECOVERED if recovered else before_cut(point.round)
    )
    save_weights(again.model, path, scores=again.scores)
    send(path)
    return path


def _measured_again(study: Reopened, model: PreTrainedModel, point: Point) -> Retrained:
    inputs = study.inputs
    found = inputs.evaluate(model)
    labels = inputs.kind.labels(inputs.data.validation)
    error = standard_error(inputs.metric_name, labels, found.predictions, classes=inputs.classes)
    return Retrained(point.measurement.metric, found.metrics["metric"], error)
