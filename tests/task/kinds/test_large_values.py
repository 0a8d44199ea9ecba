"""A regression on values of hundreds: networks learn deviations from their mean, exported ones give values."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
import transformers
from torch import nn

from pipeline.model.head import HeadMatch, fit_head, give_values, output_layer
from pipeline.study.output_scale import AS_IT_IS, OutputScale
from pipeline.study.store import Store
from pipeline.task.kinds import Description, Regression
from pipeline.trial.conformance.networks import tiny_network
from tests.kit.kinds import labelled
from tests.kit.toy import BAD, FILLER, GOOD, QUICK_SPACE, prunefront_here, write_model

PRICES = Regression("pearson_spearman", mean=200.0, deviation=50.0)


def learned(*labels: float) -> Regression:
    rows = pa.table(
        {"id": [str(row) for row in range(len(labels))], "label": [str(label) for label in labels]}
    )
    return Regression.learn(rows, Description("pearson_spearman"))


def test_values_far_from_0_are_scaled_and_others_are_not() -> None:
    far = learned(100, 200, 300)
    assert (far.mean, far.deviation) == (200.0, pytest.approx(math.sqrt(20000 / 3)))
    assert far.variant
    (remark,) = far.remarks(pa.table({}))
    assert "200 ± 81.6" in remark
    assert learned(-40, 40, 0).mean == 0.0
    for near in (learned(0, 2.5, 5), learned(0.01, 0.02, 0)):
        assert near.output_scale == AS_IT_IS
        assert not near.variant
        assert not near.remarks(pa.table({}))
    assert learned(300, 300).output_scale == AS_IT_IS  # refused later: nothing is to be learned


def test_losses_are_in_deviations_and_predictions_are_values() -> None:
    rows = labelled(np.array([250.0, 150.0, 200.0], np.float32))
    outputs, labels = torch.tensor([[2.0], [-1.0], [0.0]]), torch.tensor([250.0, 150.0, 200.0])
    assert PRICES.loss(outputs, {"labels": labels}).item() == pytest.approx(1 / 3)
    judged = PRICES.judge(outputs, rows)
    assert judged.loss == pytest.approx(1 / 3)
    assert judged.predictions.tolist() == [300.0, 150.0, 200.0]
    assert PRICES.constant_loss(rows) == PRICES.untrained_loss(rows) == pytest.approx(2 / 3)
    assert PRICES.untrained_loss(labelled(np.array([300.0], np.float32))) == 4.0


@pytest.mark.parametrize("family", ["bert", "roberta", "llama"])
def test_a_network_that_gives_values_is_read_as_one_that_gives_outputs(family: str) -> None:
    model, _ = tiny_network(family, outputs=1)
    layer = output_layer(model)
    scale = PRICES.of_model((), {}, head_bias=family != "llama").output_scale
    assert scale == (OutputScale(math.hypot(200, 50)) if family == "llama" else OutputScale(50.0, 200.0))
    inputs = {"input_ids": torch.randint(5, 90, (4, 9), generator=torch.Generator().manual_seed(0))}
    with torch.inference_mode():
        outputs = model(**inputs).logits
        give_values(model, scale)
        values = model(**inputs).logits
    assert torch.allclose(values, outputs * scale.scale + scale.shift, rtol=1e-5, atol=1e-3)
    weights = {
        f"{layer}.{name}": value.detach().numpy()
        for name, value in model.get_submodule(layer).named_parameters()
    }
    fit_head(weights, layer, HeadMatch((0,)), PRICES.output_scale)
    model.get_submodule(layer).load_state_dict(
        {name.removeprefix(f"{layer}."): torch.tensor(value) for name, value in weights.items()}
    )
    with torch.inference_mode():
        assert torch.allclose(model(**inputs).logits, outputs, atol=1e-4)


def test_a_shift_without_a_bias_is_refused() -> None:
    model, _ = tiny_network("llama", outputs=1)
    with pytest.raises(ValueError, match="score has no bias"):
        give_values(model, OutputScale(2.0, 1.0))
    assert isinstance(model.get_submodule(output_layer(model)), nn.Linear)


def write_prices(folder: Path) -> Path:
    """About 92 ± 43, by how many of the words are good ones."""
    draws = np.random.default_rng(0)
    lines = ["text,price"]
    for row in range(400):
        good = row % 5
        words = [*draws.choice(FILLER, 3), *draws.choice(GOOD, good), *draws.choice(BAD, 4 - good)]
        lines.append(f"{' '.join(draws.permutation(words))},{30 + 30 * good + draws.normal(0, 3):.2f}")
    file = folder / "prices.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


@pytest.mark.usefixtures("inline")
def test_prices_are_learned_exported_and_cut_further(tmp_path: Path) -> None:
    def here(*arguments: str | Path) -> str:
        found = prunefront_here(*arguments, "--store", tmp_path / "store")
        assert found.returncode == 0, found.stderr[-1500:]
        return found.stdout

    data, model = write_prices(tmp_path), write_model(tmp_path / "model")
    space = tmp_path / "space.toml"
    space.write_text(QUICK_SPACE + "\n[learning_rate]\nvalue = 0.003\n")
    options = ("--data", data, "--label", "price", "--kind", "regression", "--max-length", "16",
               "--latency-grid", "none", "--precision", "fp32", "--json")  # fmt: skip
    found = json.loads(here("search", *options, "--model", model, "--trials", "1", "--space", space))
    assert found["dense_metric"] > 0.9
    study = Store(tmp_path / "store").study(found["study"])

    made = json.loads(here("export", found["study"], "--to", tmp_path / "out", "--json"))
    recorded = study.read_record(0).points[made["point"]["point"]].predictions
    assert 60 < recorded.mean() < 120
    pipe = transformers.pipeline(
        "text-classification", model=str(tmp_path / "out"), device="cpu", trust_remote_code=True
    )  # type: ignore[call-overload]
    texts = ["the story of bright warm gentle clever", "the story of dull cold clumsy tired"]
    values = [each["score"] for each in pipe(texts, function_to_apply="none")]
    assert (
        30 < values[1] < values[0] - 10 < 150
    )  # 150 and 30 of prices; a network that gave outputs would say ±1

    again = json.loads(here("search", *options, "--model", tmp_path / "out", "--no-training"))
    assert again["dense_is_own"]
    own = Store(tmp_path / "store").study(again["study"]).read_record(0).points[0]
    assert np.allclose(own.predictions, recorded, atol=0.01)
