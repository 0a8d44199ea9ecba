"""A ViT trained from nothing on scikit-learn's digits, cut, exported, and read by the library's own pipeline."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import transformers

import pipeline
from pipeline.export.export import Exported, export
from pipeline.task.imagefiles import Digits, decoded
from pipeline.trial.latency import timing
from tests.kit.onetrial import NAME, Made, make_study
from tests.kit.trials import SNIP

# Uniform, so that one trial is exported both plainly and not.
PARAMS = SNIP | {"rounds": 1, "batch_size": 32, "tune_epochs": 3.0, "recover_epochs": 1.0, "target": 0.4}
UNIFORM = {key: value for key, value in PARAMS.items() if key != "threshold"} | {
    "rank_by": "obs", "allocation": "uniform"
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("digits")
    return make_study(folder, UNIFORM, task_name="builtin/digits", model="builtin/tiny-vit")


@pytest.fixture(scope="module")
def done(made: Made, tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Exported]:
    folder = tmp_path_factory.mktemp("exported")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing, "WHOLE_SECONDS", 0.1)
        return {
            plain: export(
                NAME,
                to=folder / f"{plain}",
                store=made.store.root,
                min_compression=0.3,
                plain=plain,
                onnx=not plain,
            )
            for plain in (False, True)
        }


def test_it_learns(made: Made) -> None:
    recovered = made.record.recovered
    assert recovered is not None
    measured = recovered.measurement
    assert measured.metric > 0.6  # the best class: 0.1
    assert measured.metrics["accuracy"] == measured.metric < measured.metrics["top5"] <= 1
    assert measured.compression == pytest.approx(0.4, abs=0.05)


@pytest.mark.parametrize("plain", [False, True])
def test_the_library_s_pipeline_reads_it(plain: bool, made: Made, done: dict[bool, Exported]) -> None:
    folder = done[plain].folder
    trusted = {} if plain else {"trust_remote_code": True}
    classify = transformers.pipeline("image-classification", model=str(folder), top_k=1, **trusted)
    rows = Digits().read("test").take(list(range(40)))
    images = [decoded(text, channels=1) for text in rows["text_a"].to_pylist()]
    said = [found[0]["label"] for found in classify(images)]
    assert np.mean([one == other for one, other in zip(said, rows["label"].to_pylist(), strict=True)]) > 0.6
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    pixels = torch.from_numpy(
        processor(images=[each.convert("RGB") for each in images], return_tensors="np")["pixel_values"]
    )
    ours = (
        pipeline.load(folder)
        if not plain
        else transformers.AutoModelForImageClassification.from_pretrained(folder)
    )
    with torch.no_grad():
        best = ours(pixel_values=pixels).logits.argmax(-1).tolist()
    assert [ours.config.id2label[each] for each in best] == said


def test_what_is_said_of_it(made: Made, done: dict[bool, Exported]) -> None:
    record = json.loads((done[False].folder / "prunefront.json").read_text())
    assert record["test"]["parts"]["test"].keys() >= {"accuracy", "top5"}
    assert record["onnx_difference"] < 1e-4
    card = (done[False].folder / "README.md").read_text()
    assert "pipeline_tag: image-classification" in card
    assert "AutoModelForImageClassification" in card
    assert "AutoImageProcessor" in card
    assert not list(done[True].folder.glob("*.py"))
