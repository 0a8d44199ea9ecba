"""A search of each kind of task, tiny and in this process: data by name, anchors, front, distillation, export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import prunefront
from pipeline.model.heads import HEADS
from pipeline.study.store import Store
from pipeline.task.kinds import KINDS
from tests.kit.kinds import write_rows
from tests.kit.toy import QUICK_SPACE, prunefront_here, write_model

FROM_NOTHING = {"images": "builtin/tiny-vit", "language-model": "builtin/tiny-gpt2"}
QUICK = QUICK_SPACE + "\n[learning_rate]\nvalue = 0.003\n"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_search_of_each_kind(inline: None, tmp_path: Path, model: Path, kind: str) -> None:
    data = write_rows(tmp_path / "data", kind)
    (tmp_path / "quick.toml").write_text(QUICK)
    found = prunefront_here(
        "search", "--data", data, "--kind", kind, "--max-length", "16", "--model", FROM_NOTHING.get(kind, model),
        "--trials", "2", "--space", tmp_path / "quick.toml", "--store", tmp_path / "store", "--distill", "kd", "--json",
    )  # fmt: skip
    assert found.returncode == 0, found.stderr[-1500:]
    name = json.loads(found.stdout)["study"]
    study = Store(tmp_path / "store").study(name)
    spec, (_, labels) = study.read_spec(), study.read_validation()
    assert spec.metric_name in KINDS[kind].metrics
    assert len(labels) == spec.validation_rows
    assert spec.anchors.dense > spec.anchors.constant
    assert spec.anchors.constant >= 0 or spec.metric_name == "log_likelihood"
    records = [study.read_record(number) for number in study.finished_numbers()]
    assert [record.state for record in records] == ["complete"] * 2
    for record in records:
        assert {len(point.predictions) for point in record.points} == {len(labels)}
    if kind in USES:
        folder = tmp_path / "out"
        done = prunefront_here("export", name, "--store", tmp_path / "store", "--to", folder, "--trial", "0")
        assert done.returncode == 0, done.stderr[-1500:]
        assert f"pipeline_tag: {HEADS[KINDS[kind].network].pipeline}" in (folder / "README.md").read_text()
        USES[kind](folder)


def tags(folder: Path) -> None:
    found = loaded("token-classification", folder)("the story of a bright warm river")
    assert {each["entity"] for each in found} <= {"B-GOOD", "I-GOOD", "B-BAD", "I-BAD"}
    assert all({"word", "score", "start"} <= each.keys() for each in found)


def answers(folder: Path) -> None:
    """transformers 5 has no pipeline of question answering any more: its class of such networks is the way."""
    auto: Any = transformers.AutoModelForQuestionAnswering
    network = auto.from_pretrained(folder, trust_remote_code=True).eval()
    batch = prunefront.load_tokenizer(folder)("how was it", "the story of a warm river", return_tensors="pt")
    with torch.inference_mode():
        theirs, ours = network(**batch), prunefront.load(folder)(**batch)
    torch.testing.assert_close(theirs.start_logits, ours.start_logits)
    torch.testing.assert_close(theirs.end_logits, ours.end_logits)


def relevance(folder: Path) -> None:
    found = loaded("text-classification", folder)({"text": "story 1", "text_pair": "warm"})
    assert (found if isinstance(found, dict) else found[0])["label"] == "relevance"


def label_set(folder: Path) -> None:
    found = loaded("text-classification", folder)("warm clumsy story", top_k=None)
    assert {each["label"] for each in found} == {"good", "bad"}


def vectors(folder: Path) -> None:
    """sentence-transformers gives what prunefront's own network does: the mean of its tokens, of length 1."""
    SentenceTransformer = pytest.importorskip("sentence_transformers").SentenceTransformer
    texts = ["the story of a warm river", "cold scene"]
    found = SentenceTransformer(str(folder), trust_remote_code=True, device="cpu").encode(texts)
    tokenizer, network = prunefront.load_tokenizer(folder), prunefront.load(folder)
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        ours = KINDS["embedding"]("cosine").outputs(network(**batch), batch)
    assert np.abs(found - ours.numpy()).max() < 1e-5


def loaded(task: str, folder: Path) -> Any:
    pipe: Any = transformers.pipeline
    return pipe(task, model=str(folder), trust_remote_code=True, device="cpu")


USES = {
    "tokens": tags,
    "question-answering": answers,
    "ranking": relevance,
    "multi-label": label_set,
    "embedding": vectors,
}
