"""From a point of a front to a folder: network, checkpoint, test rows, card, ONNX, hub; in this order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pipeline.export import hub
from pipeline.export.card import CARD, FIGURE, ONNX, Facts, card
from pipeline.export.checkpoint import (
    WEIGHTS,
    check_free,
    check_writable,
    layout,
    load,
    load_plain,
    whole_folder,
    write_checkpoint,
    write_plain,
    write_record,
)
from pipeline.export.choice import choose_point
from pipeline.export.licence import licence_of
from pipeline.export.network import Network, network_of
from pipeline.export.onnx import check_installed, check_onnx, write_onnx
from pipeline.export.plain import check_plain
from pipeline.export.provenance import record_of
from pipeline.export.reopen import Reopened, reopen
from pipeline.export.to_mlflow import publish, reach_tracker
from pipeline.export.trimmed import Made, read_text, trim
from pipeline.fronts.bounds import Bounds
from pipeline.fronts.figures import Series, dots, front_figure, still
from pipeline.fronts.front import Front, FrontPoint
from pipeline.fronts.pick import why
from pipeline.study.records import BadInput
from pipeline.study.store import DEFAULT_STORE, Shape, Store, TestScores, Timed, TimedPoint
from pipeline.task.batches import encoder_inputs
from pipeline.task.loading import REFUSED_LATER
from pipeline.trial.latency import FrontRequest, time_front

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Log = Callable[[str], None]

CHECKED_ROWS = 16  # of validation, on which the written network is compared with the one in memory
TOLERANCE = 1e-5  # of logits, fp32
LATENCY_BATCHES = (1, 32)  # rows, if the study timed none
EARLIER = {"compression": "min_compression", "sparsity": "min_sparsity"}  # names of bounds


@dataclass(frozen=True)
class Exported:
    """An exported folder, with what its model card holds; `warnings` are messages for the user."""

    folder: Path
    facts: Facts
    pushed: str | None = None  # where it can be seen
    mlflow_model: str | None = None  # models:/…
    warnings: tuple[str, ...] = ()


def export(
    study: str,
    *,
    to: Path | str,
    trial: int | None = None,
    store: Path | str = DEFAULT_STORE,
    task: str | None = None,
    onnx: bool = False,
    trim_vocabulary: bool = False,
    keep_text: Path | str | None = None,
    plain: bool = False,
    push: str | None = None,
    tracking: str | None = None,
    log: Log = lambda _: None,
    **bounds: Any,
) -> Exported:
    """Write one network of a study into a new folder that transformers loads, and measure it on the test rows, once.

    Without a bound it is the smallest network within 0.01 of the dense metric, or the knee where there is none.

    Args:
        study: its name.
        to: a folder that is absent or empty; it appears whole or not at all.
        trial: choose among this trial's networks, not on the study's front.
        store: the folder of the store.
        task: where the task is now, if it has moved.
        onnx: also write model.onnx, checked against PyTorch.
        trim_vocabulary: keep the tokens alone that the task's training rows need.
        keep_text: a text file whose tokens are kept, too; trims the vocabulary.
        plain: in the library's own configuration, without code of ours.
        push: also upload to this repository on the hub.
        tracking: MLflow's address; by default in the store.
        log: called with a line at each step.
        bounds: of `pick`, such as max_drop=0.01; `compression` and `sparsity` are earlier names of min_compression and
            min_sparsity.

    Returns:
        The folder, with what its model card holds.

    Raises:
        BadInput: no such study, trial or network, a folder in use, a task that changed, an extra that is missing, or
            the hub refuses the upload.
    """
    trimmed_to = read_text(keep_text) if keep_text is not None else () if trim_vocabulary else None
    asked = Bounds(**{EARLIER.get(name, name): value for name, value in bounds.items()})
    folder, files = _folder(to), Store(Path(store))
    front, chosen = choose_point(files, study, asked, trial=trial)
    if reason := why(front, asked, chosen):
        log(reason)
    check_free(folder)
    if onnx:
        check_installed()
    if push is not None:
        hub.check_name(push)
    tracker, warnings = reach_tracker(tracking, files)
    log(f"making the network of trial {chosen.trial} …")
    if files.study(study).weights.of_point(chosen) is None:
        log("its weights are not kept: it is trained again, which takes as long as its trial …")
    opened = reopen(files, study, task=task)
    check_writable(str(opened.inputs.source.config["model_type"]))
    if plain:
        check_plain(opened, chosen)
    made = Made(opened, network_of(opened, chosen.trial, chosen.point, on_epoch=_epochs(log)), chosen)
    if trimmed_to is not None:
        log("trimming its vocabulary …")
        made = trim(made, trimmed_to)
    with whole_folder(folder) as part:
        done = _write(part, made, front, onnx=onnx, plain=plain, log=log)
    done = replace(done, folder=folder, warnings=(*done.facts.warnings, *done.facts.data.remarks, *warnings))
    if tracker is not None:
        log("publishing it …")
        uri, lost = publish(tracker, folder, done.facts, opened.task)
        done = replace(done, mlflow_model=uri, warnings=(*done.warnings, *lost))
    if push is not None:
        log(f"uploading to {push} …")
        done = replace(done, pushed=hub.push(folder, push))
    return done


def _folder(to: Path | str) -> Path:
    try:
        return Path(to).expanduser().resolve()
    except RuntimeError as error:
        raise BadInput(f"--to is a folder; {to} names a user who does not exist.") from error


def _write(part: Path, made: Made, front: Front, *, onnx: bool, plain: bool, log: Log) -> Exported:
    """Write all that is in the folder."""
    opened, network, point = made.study, made.network, made.point
    source = opened.inputs.source
    write, read = (write_plain, load_plain) if plain else (write_checkpoint, load)
    write(part, network.model, network.anatomy, tokenizer_files=source.tokenizer_files)
    written = read(part)
    _check_same(written, network.model, opened)
    log("measuring it on the test rows …")
    scores = _test(opened, point, written, weights=part / WEIGHTS)
    log("timing it …")
    times = _times(opened, network, point)
    difference = None
    if onnx:
        log("writing model.onnx …")
        write_onnx(part / ONNX, written)
        difference = check_onnx(part / ONNX, written, opened.inputs.data.validation)
    networks = opened.store.study(front.spec.name).read_points().points()
    (part / FIGURE).write_bytes(still(front_figure([Series(front.spec, dots(networks))])))
    facts = _facts(
        made,
        front=front,
        scores=scores,
        times=times,
        size_bytes=(part / WEIGHTS).stat().st_size,
        onnx_difference=difference,
    )
    (part / CARD).write_text(card(replace(facts, plain=plain)))
    write_record(part, record_of(facts, network))
    return Exported(part, facts)


def _facts(
    made: Made,
    *,
    front: Front,
    scores: TestScores,
    times: tuple[Timed, ...],
    size_bytes: int,
    onnx_difference: float | None,
) -> Facts:
    opened, network = made.study, made.network
    anatomy, record = network.anatomy, network.record
    return Facts(
        front=front,
        point=made.point,
        scores=scores,
        times=times,
        size_bytes=size_bytes,
        licence=licence_of(opened.inputs.source.name),
        provenance=record.provenance,
        seed=record.seed,
        length=opened.inputs.length,
        layout=layout(anatomy),
        dense_layers=anatomy.dense_layers,
        dense_heads=anatomy.heads_per_layer,
        dense_neurons=anatomy.neurons_per_layer,
        onnx_difference=onnx_difference,
        warnings=(*_retrained(network), *_disturbed(times), *made.remarks),
        data=opened.store.study(opened.spec.name).data.read(),
        original=opened.inputs.source.original,
    )


def _note_test(opened: Reopened) -> None:
    """Note in the store what reading the test rows has shown: they are not read again."""
    file, test = opened.store.study(opened.spec.name).data, opened.opened_test
    noted = file.read()
    earlier = (remark for remark in noted.remarks if not remark.startswith(REFUSED_LATER))
    file.write(
        replace(
            noted,
            rows=noted.rows | {part: rows.num_rows for part, rows in test.parts.items()},
            shared=noted.shared | dict(opened.task.shared) | test.shared,
            remarks=tuple(dict.fromkeys((*earlier, *opened.task.remarks, *test.remarks))),
        )
    )


def _check_same(written: PreTrainedModel, made: PreTrainedModel, opened: Reopened) -> None:
    """Check on real rows that the written network computes what the one in memory does, before it is measured."""
    validation = opened.inputs.data.validation
    inputs = encoder_inputs(validation.collate(np.arange(min(CHECKED_ROWS, len(validation)))))
    with torch.inference_mode():
        difference = (written(**inputs).logits - made(**inputs).logits).abs().max().item()
    if not difference <= TOLERANCE:
        raise RuntimeError(
            f"A checkpoint computes what its network did; here logits differ by {difference:.2g}."
        )


def _times(opened: Reopened, network: Network, point: FrontPoint) -> tuple[Timed, ...]:
    """Return the latency at the study's shapes, on this machine: from the store, or measured now."""
    known = opened.store.study(opened.spec.name).latency.read().of(point.trial, point.point)
    timed = TimedPoint(point.trial, point.point, known)
    shapes = tuple(each.bench.shape for each in known)
    if not shapes:
        shapes = tuple(Shape(batch, opened.inputs.length) for batch in LATENCY_BATCHES)
    request = FrontRequest(shapes, ((timed, network.point.masks),))
    return time_front(opened.inputs.source, request)[0].times


def _test(opened: Reopened, point: FrontPoint, model: PreTrainedModel, *, weights: Path) -> TestScores:
    """Return the scores on the test rows: from the store, or measured now and stored. In fp32, as written."""
    kept = opened.store.study(opened.spec.name).exports
    with weights.open("rb") as file:
        digest = file_digest(file, "sha256").hexdigest()
    known = kept.find(point.trial, point.point, digest)
    if known is not None:
        return known
    found = {
        part: opened.inputs.evaluate(model, rows, precision="fp32").metrics
        for part, rows in opened.tests.items()
    }
    counts = {part: len(rows) for part, rows in opened.tests.items()}
    scores = TestScores(point.trial, point.point, digest, found, counts)
    kept.add(scores)
    _note_test(opened)
    return scores


def _disturbed(times: tuple[Timed, ...]) -> tuple[str, ...]:
    """Return a warning if latency was measured on a busy machine."""
    if not any(each.disturbed for each in times):
        return ()
    share = min(each.core_share for each in times)
    return (
        f"The machine did other work while latency was measured ({share:.0%} of a core was free): it is too long.",
    )


def _retrained(network: Network) -> tuple[str, ...]:
    """Return a warning if the network was trained again and differs from its record."""
    again = network.retrained
    if again is None or not again.differs:
        return ()
    return (
        f"The weights of this network were gone, so it was trained again: its metric on validation is now "
        f"{again.metric:.4f}, recorded was {again.recorded:.4f}, more than two standard errors "
        f"({again.standard_error:.4f}) apart.",
    )


def _epochs(log: Log) -> Callable[[dict[str, float]], None]:
    return lambda values: log(f"training it again: epoch {values['epoch']:.1f} of {values['epochs']:.1f} …")
