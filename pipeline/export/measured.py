"""What is measured of an exported network: the test rows, once, and its latency."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from pipeline.driver.search.dense import dense_recipe
from pipeline.export.network import Network
from pipeline.export.reopen import Reopened
from pipeline.fronts.front import FrontPoint
from pipeline.model.source import build, read_weights
from pipeline.study.provenance import provenance
from pipeline.study.store import LatencySetup, Shape, TestScores, Timed, TimedPoint
from pipeline.task.batches import encoder_inputs
from pipeline.task.loading import REFUSED_LATER
from pipeline.trial.anchors import AS_IT_CAME, dense_folder, read_dense, weights_file
from pipeline.trial.latency import FrontRequest, time_front
from pipeline.trial.training.process import threads

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LATENCY_BATCHES = (1, 32)  # rows, if the study timed none
CHECKED_ROWS = 16  # of validation, on which the written network is compared with the one in memory
TOLERANCE = 1e-5  # of logits, fp32
DENSE = (-1, 0)  # trial and point as which the dense network's scores are kept


def latencies(opened: Reopened, network: Network, point: FrontPoint) -> tuple[Timed, ...]:
    """Return the latency at the study's shapes, on this machine: from the store, or measured now.

    As many threads as the study timed with: the number is the one that `show` and `best` print.
    """
    known = opened.store.study(opened.spec.name).latency.read().of(point.trial, point.point)
    timed = TimedPoint(point.trial, point.point, known)
    shapes = tuple(each.bench.shape for each in known)
    if not shapes:
        shapes = tuple(Shape(batch, opened.inputs.length) for batch in LATENCY_BATCHES)
    request = FrontRequest(shapes, ((timed, network.point.masks),))
    with threads(known[0].bench.threads) if known else nullcontext():
        return time_front(opened.inputs.source, request)[0].times


def check_same(written: PreTrainedModel, made: PreTrainedModel, opened: Reopened) -> None:
    """Check on real rows that the written network computes what the one in memory does, before it is measured."""
    validation = opened.inputs.data.validation
    inputs = encoder_inputs(validation.collate(np.arange(min(CHECKED_ROWS, len(validation)))))
    with torch.inference_mode():
        first, second = (opened.inputs.kind.outputs(network(**inputs), inputs) for network in (written, made))
        difference = (first - second).abs().max().item()
    if not difference <= TOLERANCE:
        raise RuntimeError(
            f"A checkpoint computes what its network did; here logits differ by {difference:.2g}."
        )


def score_on_test(
    opened: Reopened, place: tuple[int, int], model: PreTrainedModel, *, weights: Path
) -> TestScores:
    """Return the scores on the test rows: from the store if it has some, or measured now and stored. In fp32.

    Args:
        opened: the study.
        place: trial and point of the network.
        model: it, as written.
        weights: its file, by whose sha256 its scores are found again.
    """
    kept = opened.store.study(opened.spec.name).exports
    with weights.open("rb") as file:
        digest = file_digest(file, "sha256").hexdigest()
    known = kept.find(*place, digest)
    if (
        known is not None and known.parts
    ):  # without: no test row had a label, and the task given now may have some
        return known
    found = {
        part: opened.inputs.evaluate(model, rows, precision="fp32").metrics
        for part, rows in opened.tests.items()
    }
    counts = {part: len(rows) for part, rows in opened.tests.items()}
    scores = TestScores(*place, digest, found, counts)
    kept.add(scores)
    _note_test(opened)
    return scores


def score_dense_on_test(opened: Reopened) -> TestScores | None:
    """Return the dense network's scores on the test rows, once as those of others; None if its weights are gone."""
    path = _dense_weights(opened)
    if path is None:
        return None
    model, _ = build(replace(opened.inputs.source, weights=read_weights(path)), seed=0)
    return score_on_test(opened, DENSE, model, weights=path)


def _dense_weights(opened: Reopened) -> Path | None:
    """Return the file of the dense network's weights: the study's own, or that of the store's cache."""
    spec, own = opened.spec, opened.store.study(opened.spec.name).origin.dense()
    if own.is_file():
        return own
    folder = dense_folder(
        opened.store.cache,
        task_fingerprint=spec.task_fingerprint,
        model_fingerprint=spec.model_fingerprint,
        recipe=AS_IT_CAME if spec.own else dense_recipe(spec.method, opened.inputs.source),
    )
    known = read_dense(folder)
    return weights_file(folder) if known is not None and known["metric"] == spec.anchors.dense else None


def cpu_benches(times: Sequence[Timed]) -> tuple[LatencySetup, ...]:
    """Return the shapes and threads of some latencies, on this machine's CPU."""
    cpu = provenance()["cpu"]
    on_cpu = [each.bench.threads for each in times if each.bench.device == cpu]
    count = on_cpu[0] if on_cpu else torch.get_num_threads()
    return tuple(LatencySetup(cpu, count, each.bench.batch, each.bench.length) for each in times)


def disturbed(times: tuple[Timed, ...]) -> tuple[str, ...]:
    """Return a warning if latency was measured on a busy machine."""
    if not any(each.disturbed for each in times):
        return ()
    share = min(each.core_share for each in times)
    return (
        f"The machine did other work while latency was measured ({share:.0%} of a core was free): it is too long.",
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
