"""Searches of what people bring: an exported folder, cut further; a trimmed vocabulary; each known to all commands."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForSequenceClassification, BertTokenizer

from pipeline.driver.search.inputs import check_types
from pipeline.driver.search.request import Search
from pipeline.export.checkpoint import load, write_checkpoint
from pipeline.model.anatomy import read_anatomy
from pipeline.model.source import build, read_source
from pipeline.model.surgery import cut
from pipeline.study.records import BadInput
from pipeline.study.store import Store
from pipeline.trial.latency import timing
from tests.kit.toy import fitted_model, prunefront_here, write_task

SPARE = 30  # tokens
UNTRAINED = ("--no-training", "--method", "first-order", "--latency-grid", "none")
TIMED = (*UNTRAINED[:-1], "1x8")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "WHOLE_SECONDS", 0.0)
    monkeypatch.setattr(timing, "TABLE_SECONDS", 0.0)


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_task(tmp_path_factory.mktemp("brought") / "task", rows=160)


@pytest.fixture(scope="module")
def store(task: Path) -> Path:
    """One for all: MLflow's database is made once."""
    return task.parent / "store"


@pytest.fixture(scope="module")
def model(task: Path) -> Path:
    """A fitted model with tokens that no row has."""
    fitted, tokenizer = fitted_model()
    network, words = copy.deepcopy(fitted), tokenizer.get_vocab()
    network.resize_token_embeddings(len(words) + SPARE)
    network.save_pretrained(task.parent / "mine")
    words |= {f"spare{number}": len(words) + number for number in range(SPARE)}
    BertTokenizer(vocab=words, do_lower_case=True, model_max_length=32).save_pretrained(task.parent / "mine")
    return task.parent / "mine"


def run(*arguments: str | Path) -> tuple[dict[str, Any], str]:
    done = prunefront_here(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found, done.stderr


@pytest.mark.usefixtures("inline")
def test_an_exported_network_is_cut_further(task: Path, model: Path, store: Path) -> None:
    network = AutoModelForSequenceClassification.from_pretrained(model)
    anatomy = read_anatomy(network)
    masks = anatomy.present
    masks.heads[0, 1:] = masks.neurons[2, 20:] = False
    masks.heads[1] = masks.neurons[1] = masks.layers[1] = False
    parts = cut(network, anatomy, masks)
    small, dense = task.parent / "small", anatomy.costs.encoder
    small.mkdir()
    files = {path.name: path.read_bytes() for path in model.glob("tokenizer*")}
    write_checkpoint(small, network, parts, tokenizer_files=files)
    held = sum(p.numel() for p in network.bert.encoder.parameters())

    second, said = run("search", "--task", task, "--model", small, "--store", store, *TIMED)
    gone = 1 - held / dense
    assert f"The model was cut before: {100 * gone:.1f} % of its first encoder is gone." in said
    study = Store(store).study(second["study"])
    spec, record = study.read_spec(), study.read_record(0)
    assert spec.anchors.dense_encoder_parameters == held
    assert record.points[0].measurement.compression == 0.0
    assert record.points[0].measurement.metric == spec.anchors.dense  # the network as it was exported
    assert all(point.measurement.latency_ms for point in record.points)
    assert min(point.measurement.encoder_parameters for point in record.points) < held
    assert second["original"]["encoder_parameters"] == dense

    best, _ = run("best", second["study"], "--store", store, "--min-compression", "0.2")
    shown = prunefront_here("best", second["study"], "--store", store, "--min-compression", "0.2")
    share = 1 - best["point"]["encoder_parameters"] / best["original"]["encoder_parameters"]
    assert f"{100 * share:.1f} % of the encoder before its first cut" in " ".join(shown.stdout.split())
    smaller = task.parent / "smaller"
    run("export", second["study"], "--store", store, "--compression", "0.2", "--to", smaller)
    assert "gone of the encoder before its first cut" in (smaller / "README.md").read_text()
    assert sum(p.numel() for p in load(smaller).base_model.encoder.parameters()) < 0.8 * held
    confirmed, _ = run("confirm", second["study"], "--store", store, "--points", "2")
    assert confirmed["missing"] == 0


@pytest.mark.usefixtures("inline")
def test_a_front_of_a_trimmed_model_counts_its_table(task: Path, model: Path, store: Path) -> None:
    whole, _ = run(
        "search", "--task", task, "--model", model, "--store", store, "--name", "whole", *UNTRAINED
    )
    found, said = run(
        "search", "--task", task, "--model", model, "--store", store, "--trim-vocabulary", *UNTRAINED
    )
    assert found["study"] == "toy-mine-first-order-no-training-trimmed"
    assert "The vocabulary is trimmed to" in said
    study = Store(store).study(found["study"])
    anchors, record = study.read_spec().anchors, study.read_record(0)
    plain = Store(store).study(whole["study"]).read_spec().anchors
    assert (anchors.dense_parameters, anchors.dense_size_mb) == (plain.dense_parameters, plain.dense_size_mb)
    source = read_source(study.origin.model())
    network, _ = build(source, seed=0)
    there = sum(p.numel() for p in network.parameters())
    assert found["original"]["trimmed"] == plain.dense_parameters - there > 0
    tokens = found["original"]["tokens"]
    assert record.provenance["vocabulary"] == f"{source.config['vocab_size']} of {tokens} tokens"
    uncut = record.points[0].measurement
    assert (uncut.compression, uncut.parameters) == (0.0, there)
    assert uncut.compression_total == pytest.approx(1 - there / plain.dense_parameters)
    assert uncut.metric == plain.dense  # its rows have no other words
    shown = prunefront_here("show", found["study"], "--store", store)
    assert "The vocabulary is trimmed to" in shown.stdout
    again, _ = run(
        "search", "--task", task, "--model", model, "--store", store, "--trim-vocabulary", *UNTRAINED
    )
    assert again["trials"] == 1
    confirmed, _ = run("confirm", found["study"], "--store", store, "--points", "2")
    assert confirmed["missing"] == 0
    small = task.parent / "trimmed"
    run("export", found["study"], "--store", store, "--knee", "--to", small)
    assert load(small).config.vocab_size == source.config["vocab_size"]


def test_token_types_that_the_network_has_not_are_refused(make_inputs: Any) -> None:
    """It would be an index out of range in a worker."""
    inputs = make_inputs()
    types = inputs.data.train.table["token_type_ids"].to_pylist()
    assert max(map(max, types)) == 1
    check_types(Search(model="mine"), inputs)
    config = inputs.source.config | {"type_vocab_size": 1}
    with pytest.raises(
        BadInput,
        match=r"The tokenizer of mine gives 2 types of tokens, and type_vocab_size of its config.json is 1",
    ):
        check_types(Search(model="mine"), replace(inputs, source=replace(inputs.source, config=config)))
