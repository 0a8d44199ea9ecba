"""A GPT-2 trained from nothing on running text, cut, exported, and written on by the library's own pipeline."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import transformers

from pipeline.export.export import export
from pipeline.trial.latency import timing
from tests.kit.kinds import running
from tests.kit.onetrial import NAME, make_study
from tests.kit.trials import SNIP

PARAMS = SNIP | {"rounds": 1, "batch_size": 16, "tune_epochs": 6.0, "recover_epochs": 2.0, "target": 0.4}
UNIFORM = {key: value for key, value in PARAMS.items() if key != "threshold"} | {
    "rank_by": "obs", "allocation": "uniform"
}  # fmt: skip
TASK = """
name = "circle"
kind = "language-model"
text = ["text"]
max_length = 32
[files]
train = "train.csv"
"""


def test_a_language_model_is_exported_and_writes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "WHOLE_SECONDS", 0.1)
    texts = [row["text"] for row in running(300, np.random.default_rng(0))]
    with (tmp_path / "train.csv").open("w") as file:
        csv.writer(file).writerows([["text"], *[[text] for text in texts]])
    (tmp_path / "task.toml").write_text(TASK)
    made = make_study(
        tmp_path / "study", UNIFORM, task_name=str(tmp_path / "task.toml"), model="builtin/tiny-gpt2"
    )
    recovered = made.record.recovered
    assert recovered is not None
    measured = recovered.measurement
    assert measured.metrics["perplexity"] == pytest.approx(np.exp(-measured.metric), rel=1e-5)
    for plain in (False, True):
        folder = tmp_path / f"{plain}"
        done = export(NAME, to=folder, store=made.store.root, min_compression=0.3, plain=plain)
        trusted = {} if plain else {"trust_remote_code": True}
        write = transformers.pipeline("text-generation", model=str(folder), **trusted)
        words = texts[0].split()
        said = write(" ".join(words[:8]), max_new_tokens=12, do_sample=False)[0]["generated_text"]
        assert words[8] in said.split()[8:]
        config = json.loads((folder / "config.json").read_text())
        assert config["architectures"] == ["GPT2LMHeadModel" if plain else "CutGPT2LMHeadModel"]
        assert done.facts.scores.parts["test"]["perplexity"] > 1
        card = (folder / "README.md").read_text()
        assert "pipeline_tag: text-generation" in card
        assert "AutoModelForCausalLM" in card
