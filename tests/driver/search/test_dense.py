"""The dense network of a study: which of the networks at several learning rates is kept."""

from __future__ import annotations

from dataclasses import replace
from math import nan
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pipeline.driver.search.dense import DenseTraining
from pipeline.study.records import BadInput
from pipeline.study.store import Store
from pipeline.trial.anchors import DenseRun, read_dense

RUN = DenseRun(1e-3, 0.8, 1, 1, 1, 1.0, 1.0, 0.0, 0.0, {"w": np.zeros(2, np.float32)})


def training(folder: Path, *, own: bool = False) -> DenseTraining:
    source = SimpleNamespace(config={"model_type": "bert"}, pretrained=True, fingerprint="m")
    resolved: Any = SimpleNamespace(
        own=own,
        inputs=SimpleNamespace(method="snip", source=source),
        store=Store(folder),
        task=SimpleNamespace(fingerprint="t"),
    )
    return DenseTraining(resolved)


def test_a_network_whose_metric_is_no_number_has_diverged(tmp_path: Path) -> None:
    """The largest of NaN and a number is whichever comes first."""
    made = training(tmp_path)
    made.write([replace(RUN, metric=nan), None, RUN, replace(RUN, metric=0.7)])
    about = read_dense(made.folder)
    assert about is not None
    assert about["metric"] == 0.8
    with pytest.raises(BadInput, match="diverged at the learning rates"):
        training(tmp_path / "other").write([replace(RUN, metric=nan), None, replace(RUN, metric=nan)])


def test_a_network_as_it_came_is_kept_whatever_its_metric(tmp_path: Path) -> None:
    """It is refused by that (`check_learned`): nothing has diverged in training."""
    made = training(tmp_path, own=True)
    made.write([replace(RUN, metric=nan)])
    about = read_dense(made.folder)
    assert about is not None
    assert about["metric"] != about["metric"]
