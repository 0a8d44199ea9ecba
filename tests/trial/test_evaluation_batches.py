"""Evaluation on a GPU: batches that are made once, with masks of their own, and predict the same."""

import gc

import torch

from pipeline.model.device import forms_of_a_gpu
from pipeline.trial import evaluation_batches as room
from pipeline.trial.evaluation_batches import evaluation_batches
from pipeline.trial.measure import evaluate
from tests.kit.kinds import CLASSES


def test_predictions_are_those_of_a_cpus_batches(architecture, make_model, make_split):
    model, _ = make_model(architecture)
    split = make_split(architecture, rows=11)
    plain = evaluate(model, split, CLASSES, batch_size=4)
    with forms_of_a_gpu():
        made = evaluate(model, split, CLASSES, batch_size=4)
    assert abs(made.loss - plain.loss) < 1e-5
    assert (made.predictions == plain.predictions).all()


def test_batches_are_made_once_and_go_with_their_rows(make_split):
    split, how = make_split(rows=9), {"device": torch.device("cpu"), "model_type": "bert"}
    before = len(room._KEPT)
    with forms_of_a_gpu():
        first = evaluation_batches(split, 4, precision="fp32", **how)
        assert evaluation_batches(split, 4, precision="fp32", **how) is first
        assert evaluation_batches(split, 4, precision="bf16", **how) is not first
    assert len(room._KEPT) == before + 1
    del split, first
    gc.collect()
    assert len(room._KEPT) == before
