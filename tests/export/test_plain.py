"""A uniform network of a study, written in the library's own configuration."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from pipeline.export.export import export
from pipeline.export.plain import check_plain
from pipeline.fronts.front import front_of
from pipeline.study.records import BadInput, Masks
from pipeline.study.store import Store
from pipeline.trial.latency import timing
from tests.kit import synthetic
from tests.kit.onetrial import NAME, Made, Study, make_study
from tests.kit.trials import SNIP

# Single neurons are ranked, so that widths change; the recovered network is the half.
UNIFORM = SNIP | {
    "rounds": 1,
    "batch_size": 32,
    "tune_epochs": 1,
    "recover_epochs": 0,
    "threshold": None,
    "target": 0.5,
    "rank_by": "obs",
    "allocation": "uniform",
}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "WHOLE_SECONDS", 0.1)


def test_a_uniform_study_is_exported_without_our_code(tmp_path: Path) -> None:
    params = {key: value for key, value in UNIFORM.items() if value is not None}
    made = make_study(tmp_path, params)
    record = made.record
    for point in record.points:
        widths = point.masks.neurons[point.masks.layers].sum(axis=1)
        assert len({*widths.tolist()}) == 1
        assert point.masks.heads[point.masks.layers].all()
    done = export(NAME, to=tmp_path / "plain", store=made.store.root, compression=0.3, plain=True)
    names = {path.name for path in done.folder.iterdir()}
    assert not {name for name in names if name.endswith(".py")}
    config = json.loads((done.folder / "config.json").read_text())
    assert config["model_type"] == "bert"
    card = (done.folder / "README.md").read_text()
    assert "trust_remote_code" not in card
    model = transformers.AutoModelForSequenceClassification.from_pretrained(done.folder).eval()
    fast = transformers.AutoTokenizer.from_pretrained(done.folder)
    with torch.no_grad():
        assert model(**fast(["a bright river"], return_tensors="pt")).logits.isfinite().all()
    assert model.num_parameters() == done.facts.point.parameters
    the_nearest_is_named(made, tmp_path / "other")


def the_nearest_is_named(made: Made, folder: Path) -> None:
    """Of a second trial, whose networks lack one neuron more in one layer and are better by 0.02."""
    first = [point for point in made.record.points if point.measurement.compression > 0]
    changed = []
    for point in first:
        masks = copy.deepcopy(point.masks)
        layer = int(np.flatnonzero(masks.layers)[0])
        masks.neurons[layer, np.flatnonzero(masks.neurons[layer])[0]] = False
        better = replace(point.measurement, metric=point.measurement.metric + 0.02)
        changed.append(replace(point, masks=masks, measurement=better))
    made.store.study(NAME).write_record(replace(made.record, number=1, points=tuple(changed)))
    with pytest.raises(BadInput) as refusal:
        export(NAME, to=folder, store=made.store.root, trial=1, min_compression=0.3, plain=True)
    said = str(refusal.value)
    (asked,) = re.findall(
        r"Of trial 1, compression ([0-9.]+)%, its layers keep different numbers of heads or", said
    )
    own = next(p.measurement for p in changed if f"{p.measurement.compression:.1%}" == f"{asked}%")
    assert own.compression >= 0.3
    # those that the options of the message choose
    rows = enumerate(front_of(made.store.study(NAME).read_points().of_trials([0])).points, 1)
    near = [(each, row) for row, each in rows if round(abs(each.compression - own.compression), 2) == 0]
    nearest, row = max(near, key=lambda found: found[0].metric)
    assert said.endswith(
        f"The nearest such network of this study is --trial 0 --point {row}: accuracy "
        f"{nearest.metric:.4f} in place of {own.metric:.4f} ({nearest.metric - own.metric:+.4f}), compression "
        f"{nearest.compression:.1%} in place of {own.compression:.1%}. Or leave --plain out."
    )
    assert not folder.exists()


def test_another_network_is_refused_with_the_nearest_that_is_uniform(study: Study, tmp_path: Path) -> None:
    store = Store(study.store)
    with pytest.raises(BadInput, match=r"whole layers, each as wide.*\[allocation\] value = \"uniform\""):
        export(NAME, to=tmp_path / "plain", store=store.root, task=str(study.task_file), plain=True)
    assert not (tmp_path / "plain").exists()


def test_the_network_that_is_named_is_the_one_that_its_options_choose(tmp_path: Path) -> None:
    """Two plain ones are as near: that of trial 1 is dominated by one of its trial that is not plain."""
    store, whole = Store(tmp_path), Masks.full(2, 2, 4)
    odd = replace(whole, neurons=np.array([[True] * 4, [True] * 3 + [False]]))
    store.write_spec(synthetic.spec())
    asked, dominated, better, standing = (
        replace(synthetic.point(metric, share), masks=masks)
        for metric, share, masks in ((0.8, 0.5, odd), (0.7, 0.5, whole), (0.75, 0.6, odd), (0.6, 0.5, whole))
    )
    for number, points in enumerate(([asked], [dominated, better], [standing])):
        store.study("toy").write_record(synthetic.record(number, *points))
    opened: Any = SimpleNamespace(
        store=store,
        spec=synthetic.spec(),
        inputs=SimpleNamespace(source=SimpleNamespace(config={"model_type": "bert"})),
    )
    (chosen,) = front_of(store.study("toy").read_points().of_trials([0])).points
    with pytest.raises(BadInput, match=r"--trial 2 --point 1: accuracy 0.6000"):
        check_plain(opened, chosen)
