"""The threshold from which a label is predicted: 0.5, another, or fitted on calibration rows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from sklearn.metrics import f1_score

from pipeline.model.resolve import resolve_model
from pipeline.model.source import build
from pipeline.study.records import BadInput
from pipeline.study.store import Store
from pipeline.task.batches import Split
from pipeline.task.kinds import MultiLabel
from pipeline.task.loading import load_task
from pipeline.trial.inputs import TrialInputs, head_of, inputs_of
from pipeline.trial.measure import kept_outputs
from tests.kit.kinds import write_rows
from tests.kit.toy import QUICK_SPACE, prunefront_here, write_model

NAMES = ("a", "b", "c")


def rows_of(labels: np.ndarray) -> Split:
    flat = pa.array(labels.astype(np.float32).reshape(-1))
    columns = {"id": [str(row) for row in range(len(labels))], "input_ids": [[1]] * len(labels)}
    column = pa.FixedSizeListArray.from_arrays(flat, labels.shape[1])
    return Split(pa.table({**columns, "label": column}), 0)


def outputs_of(shares: np.ndarray) -> torch.Tensor:
    return torch.logit(torch.tensor(shares, dtype=torch.float32))


def task_file(folder: Path, threshold: str) -> Path:
    write_rows(folder, "multi-label")
    file = folder / "task.toml"
    file.write_text(
        f'name = "labels"\nkind = "multi-label"\ntext = ["text"]\nlabel = "labels"\nmax_length = 16\n{threshold}\n'
        '[files]\ntrain = "train.jsonl"\ntest = "test.jsonl"\n'
    )
    return file


def test_the_fitted_threshold_is_the_best_of_all_hundredths() -> None:
    draws = np.random.default_rng(0)
    for metric, average in (("micro_f1", "micro"), ("macro_f1", "macro")):
        kind = MultiLabel(metric, NAMES, None, True)
        for _ in range(2):
            labels = draws.integers(0, 2, (40, 3))
            shares = np.clip(0.3 * labels + draws.uniform(0.05, 0.4, labels.shape), 0.01, 0.99)
            found = kind.fitted(outputs_of(shares), rows_of(labels))
            kept = outputs_of(shares).sigmoid().numpy()
            scores = [
                f1_score(labels, kept >= step / 100, average=average, zero_division=0)
                for step in range(1, 100)
            ]
            assert found.threshold is not None
            assert scores[round(100 * found.threshold) - 1] == pytest.approx(max(scores))


def test_by_hand_and_of_equal_ones_the_nearest_to_a_half() -> None:
    """Labels have 0.2 and 0.3, others 0.1: all from 0.11 to 0.2 are right, and 0.2 is nearest to 0.5."""
    labels = np.array([[1, 0], [0, 1]])
    shares = np.array([[0.201, 0.1], [0.1, 0.3]])
    kind = MultiLabel("micro_f1", NAMES[:2], None, True)
    assert kind.fits
    found = kind.fitted(outputs_of(shares), rows_of(labels))
    assert (found.threshold, found.fits, found.reading) == (0.2, False, {"threshold": 0.2})
    judged = found.judge(outputs_of(shares), rows_of(labels))
    assert judged.predictions.tolist() == labels.tolist()
    assert found.score(judged, rows_of(labels))["threshold"] == 0.2
    with pytest.raises(ValueError, match="fitted to a network before"):
        kind.judge(outputs_of(shares), rows_of(labels))
    plain = MultiLabel("micro_f1", NAMES[:2]).judge(outputs_of(shares), rows_of(labels))
    assert not plain.predictions.any()
    assert "threshold" not in plain.scores


def test_a_task_file_names_it(tmp_path: Path) -> None:
    kinds, prints = {}, {}
    for name, line in (
        ("default", ""), ("half", "threshold = 0.5"), ("low", "threshold = 0.2"), ("fitted", 'threshold = "fitted"')
    ):  # fmt: skip
        task = load_task(str(task_file(tmp_path / name, line)), cache=tmp_path)
        assert isinstance(task.kind, MultiLabel)
        kinds[name], prints[name] = (task.kind.threshold, task.kind.fit), task.fingerprint
    assert kinds == {
        "default": (0.5, False),
        "half": (0.5, False),
        "low": (0.2, False),
        "fitted": (None, True),
    }
    assert prints["default"] == prints["half"]
    assert len({*prints.values()}) == 3


@pytest.mark.parametrize(
    "line", ["threshold = 0", "threshold = 1.5", 'threshold = "best"', "threshold = nan"]
)
def test_what_is_no_threshold(line: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"threshold is a probability between 0 and 1, or 'fitted'"):
        load_task(str(task_file(tmp_path, line)), cache=tmp_path)


def test_other_kinds_have_none(tmp_path: Path) -> None:
    file = task_file(tmp_path, 'threshold = "fitted"')
    file.write_text(file.read_text().replace("multi-label", "classification"))
    with pytest.raises(BadInput, match="kind classification has no threshold"):
        load_task(str(file), cache=tmp_path)


def fitted_inputs(folder: Path) -> TrialInputs:
    task = load_task(str(task_file(folder, 'threshold = "fitted"')), cache=folder)
    source = resolve_model(
        str(write_model(folder / "model")), head=head_of(task.kind), train_texts=["the river"]
    )
    return inputs_of(task, source, method="snip", precision="fp32")


def test_it_is_fitted_to_each_network_on_calibration_rows_alone(tmp_path: Path) -> None:
    inputs = fitted_inputs(tmp_path)
    model, _ = build(inputs.source, seed=0)
    kept = kept_outputs(model, inputs.data.calibration, inputs.kind)
    expected = inputs.kind.fitted(kept, inputs.data.calibration)
    found = inputs.evaluate(model)
    outputs = kept_outputs(model, inputs.data.validation, inputs.kind).sigmoid().numpy()
    assert isinstance(expected, MultiLabel)
    assert found.metrics["threshold"] == expected.threshold
    assert found.predictions.tolist() == (outputs >= expected.threshold).astype(int).tolist()
    turned = inputs.data.validation.with_labels(1 - inputs.data.validation.labels)
    other = replace(inputs, data=replace(inputs.data, validation=turned)).evaluate(model)
    assert other.metrics["threshold"] == expected.threshold  # validation's labels have no say
    assert other.predictions.tolist() == found.predictions.tolist()
    assert not {*inputs.data.calibration.ids} & {*inputs.data.validation.ids}


@pytest.mark.parametrize(
    "engines", [(), pytest.param(("--onnx", "--int8"), marks=pytest.mark.long)], ids=["alone", "engines"]
)
def test_an_export_says_which_it_was(inline: None, tmp_path: Path, engines: tuple[str, ...]) -> None:
    file = task_file(tmp_path / "data", 'threshold = "fitted"')
    (tmp_path / "quick.toml").write_text(QUICK_SPACE + "\n[learning_rate]\nvalue = 0.003\n")
    store, out = tmp_path / "store", tmp_path / "out"
    found = prunefront_here(
        "search", "--task", file, "--model", write_model(tmp_path / "model"), "--trials", "1",
        "--space", tmp_path / "quick.toml", "--store", store, "--json",
    )  # fmt: skip
    assert found.returncode == 0, found.stderr[-1500:]
    name = json.loads(found.stdout)["study"]
    record = Store(store).study(name).read_record(0)
    assert all(0.01 <= point.measurement.metrics["threshold"] <= 0.99 for point in record.points)
    done = prunefront_here("export", name, "--store", store, "--to", out, "--trial", "0", *engines)
    assert done.returncode == 0, done.stderr[-1500:]
    told = json.loads((out / "prunefront.json").read_text())
    threshold = json.loads((out / "config.json").read_text())["threshold"]
    assert told["reading"] == {"threshold": threshold}
    assert told["test"]["parts"]["test"]["threshold"] == threshold
    assert (
        f"| threshold of probabilities (in config.json) | {threshold:g} |" in (out / "README.md").read_text()
    )
