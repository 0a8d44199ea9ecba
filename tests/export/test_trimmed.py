"""An exported network without the tokens that its task does not need: same numbers, smaller, said everywhere."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import pipeline
from pipeline.export import trimmed
from pipeline.export.export import Exported, export
from pipeline.export.network import network_of
from pipeline.export.reopen import reopen
from pipeline.export.trimmed import Made, read_text, trim
from pipeline.fronts.front import read_front
from pipeline.model.heads import LANGUAGE_MODEL, Head
from pipeline.model.source import read_source, tokenizer
from pipeline.model.unstructured import matrices
from pipeline.study.records import BadInput
from pipeline.study.store import Store
from pipeline.task.loading import Task, load_task, train_texts
from pipeline.trial.latency import timing
from tests.kit.onetrial import NAME, Study, make_study
from tests.kit.trials import MAGNITUDE


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "WHOLE_SECONDS", 0.1)


REMOVED, SERVED = "scene", "river"  # words that train is said to lack; the served text has one of them


def texts_of(task: Task) -> list[str]:
    return [" ".join({*text.split()} - {REMOVED, SERVED}) for text in train_texts(task)]


@pytest.fixture(scope="module")
def both(made: Study, tmp_path_factory: pytest.TempPathFactory) -> tuple[Exported, Exported]:
    """A network as it is, and with the tokens of train and of a text."""
    folder = tmp_path_factory.mktemp("trimmed")
    (folder / "served.txt").write_text(f"{SERVED}\n\n", encoding="utf-8-sig")
    shutil.copytree(made.store / "studies", folder / "store" / "studies")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing, "WHOLE_SECONDS", 0.1)
        patch.setattr(trimmed, "train_texts", texts_of)
        return (
            export(NAME, to=folder / "whole", store=folder / "store"),
            export(NAME, to=folder / "small", store=folder / "store", keep_text=folder / "served.txt"),
        )


def test_texts_of_train_have_the_same_logits(both: tuple[Exported, Exported], made: Study) -> None:
    whole, small = both
    every = train_texts(load_task(str(made.task_file), cache=made.store / "cache"))
    texts = [text for text in every if REMOVED not in text][:50]
    assert any(SERVED in text for text in texts)
    logits, tokens = [], []
    for each in (whole, small):
        model, reader = pipeline.load(each.folder), pipeline.load_tokenizer(each.folder)
        rows = reader(texts, padding=True, return_tensors="pt")
        tokens.append([reader.convert_ids_to_tokens(row) for row in rows["input_ids"]])
        with torch.no_grad():
            logits.append(model(**rows).logits)
    assert tokens[0] == tokens[1]
    torch.testing.assert_close(*logits, rtol=0, atol=1e-6)
    vocabularies = [pipeline.load_tokenizer(each.folder).get_vocab() for each in both]
    assert vocabularies[0].keys() - vocabularies[1].keys() == {REMOVED}


def test_sizes_are_those_of_the_small_table(both: tuple[Exported, Exported], made: Study) -> None:
    whole, small = both
    source = read_source(Store(made.store).study(NAME).origin.model())
    model = pipeline.load(small.folder)
    rows = len(pipeline.load_tokenizer(small.folder))
    gone = (len(tokenizer(source)) - rows) * int(source.config["hidden_size"])
    assert gone > 0
    assert model.config.vocab_size == rows
    point = small.facts.point
    assert point.parameters == whole.facts.point.parameters - gone
    assert sum(p.numel() for p in model.parameters()) == point.parameters
    assert point.size_mb == pytest.approx(4e-6 * point.parameters)
    assert point.compression == whole.facts.point.compression
    dense = small.facts.front.spec.anchors.dense_parameters
    assert point.compression_total == pytest.approx(1 - point.parameters / dense)
    assert whole.facts.size_bytes - small.facts.size_bytes == pytest.approx(4 * gone, abs=200)


def test_it_is_said(both: tuple[Exported, Exported]) -> None:
    _, small = both
    said = "The vocabulary is trimmed to"
    assert any(said in warning for warning in small.warnings)
    assert said in (small.folder / "README.md").read_text()
    record = json.loads((small.folder / "prunefront.json").read_text())
    assert record["original"]["trimmed"] == pipeline.load(small.folder).config.hidden_size
    assert record["original"]["tokens"] == 1 + len(pipeline.load_tokenizer(small.folder))
    assert any("have removed tokens and are read in other pieces" in warning for warning in small.warnings)
    assert json.loads((both[0].folder / "prunefront.json").read_text())["original"] is None


def test_its_test_score_is_its_own(both: tuple[Exported, Exported]) -> None:
    whole, small = both
    assert small.facts.scores.weights_sha256 != whole.facts.scores.weights_sha256
    assert small.facts.scores.rows == whole.facts.scores.rows


def test_a_trimmed_export_is_a_model_again(both: tuple[Exported, Exported]) -> None:
    from pipeline.model.resolve import resolve_model
    from pipeline.model.source import build

    small = both[1]
    classes = tuple(json.loads((small.folder / "config.json").read_text())["id2label"].values())
    source = resolve_model(str(small.folder), head=Head(classes), train_texts=[])
    assert small.facts.original is not None
    assert source.original is not None
    assert source.original.parameters == small.facts.original.parameters
    rows = pipeline.load_tokenizer(small.folder)(["the bright river"], return_tensors="pt")
    with torch.no_grad():
        loaded, built = pipeline.load(small.folder), build(source, seed=0)[0]
        weights = built.state_dict()
        assert all(torch.equal(value, weights[name]) for name, value in loaded.state_dict().items())
        # weights from a file lie elsewhere in a cache line, and products round otherwise there
        torch.testing.assert_close(built(**rows).logits, loaded(**rows).logits, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("content", "message"), [(None, "cannot be read"), (b" \n", "has no text"), (b"\xff\xfea\0", "UTF-16")]
)
def test_a_text_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "t.txt").write_bytes(content)
    with pytest.raises(BadInput, match=rf"{message}.*--keep-text is a text file"):
        read_text(tmp_path / "t.txt")


def test_of_a_network_with_zeros_what_is_left_is_counted_without_the_rows_that_went(tmp_path: Path) -> None:
    params = MAGNITUDE | {"batch_size": 32, "tune_epochs": 1, "recover_epochs": 0}
    made = make_study(tmp_path, params, method="magnitude")
    opened = reopen(made.store, NAME)
    front = read_front(made.store.study(NAME))
    chosen = next(each for each in front.points if each.sparsity > 0)
    whole = Made(opened, network_of(opened, chosen.trial, chosen.point), chosen)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trimmed, "train_texts", texts_of)
        small = trim(whole, ())
    model, anatomy = small.network.model, small.network.anatomy
    zeros = sum(int((weight == 0).sum()) for weight in matrices(anatomy).values())
    assert zeros > 0
    assert small.point.parameters == sum(p.numel() for p in model.parameters()) < whole.point.parameters
    assert small.point.nonzero_parameters == small.point.parameters - zeros


def test_a_model_that_predicts_words_is_not_trimmed() -> None:
    study: Any = SimpleNamespace(inputs=SimpleNamespace(source=SimpleNamespace(network=LANGUAGE_MODEL)))
    with pytest.raises(BadInput, match="A language model predicts its words"):
        trim(Made(study, None, None), ())  # type: ignore[arg-type]
