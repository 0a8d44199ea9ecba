"""A uniform network of a study, written in the library's own configuration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers

from pipeline.export.export import export
from pipeline.study.records import BadInput
from pipeline.study.store import Store
from pipeline.trial.latency import timing
from tests.kit.onetrial import NAME, Study, make_study
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


def test_another_network_is_refused_with_the_nearest_that_is_uniform(study: Study, tmp_path: Path) -> None:
    store = Store(study.store)
    with pytest.raises(BadInput, match=r"whole layers, each as wide.*\[allocation\] value = \"uniform\""):
        export(NAME, to=tmp_path / "plain", store=store.root, task=str(study.task_file), plain=True)
    assert not (tmp_path / "plain").exists()
