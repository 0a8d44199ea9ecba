"""Metrics of kinds against torchmetrics', which others wrote."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from pipeline.study.metrics import evaluate
from pipeline.task.batches import Split
from pipeline.task.kinds import Images, LanguageModel
from pipeline.task.kinds.question_answering import answer_f1, normalised
from pipeline.task.kinds.ranking import mrr, ndcg

torchmetrics: Any = pytest.importorskip("torchmetrics")
WORDS = ["the", "Warm", "river", "a", "story,", "an", "warm", "of"]


@pytest.fixture
def draws() -> np.random.Generator:
    return np.random.default_rng(0)


def test_ranks(draws: np.random.Generator) -> None:
    """One query at a time; no two scores are equal, where torchmetrics takes whatever order comes."""
    for _ in range(30):
        scores, relevance = draws.permutation(14) / 14, draws.integers(0, 4, 14)
        relevance[0] = 1
        preds, target, queries = (
            torch.tensor(scores),
            torch.tensor(relevance),
            torch.zeros(14, dtype=torch.long),
        )
        theirs = torchmetrics.retrieval.RetrievalNormalizedDCG(top_k=10)(preds, target, indexes=queries)
        assert ndcg(relevance, scores) == pytest.approx(theirs.item(), abs=1e-6)
        one = (relevance > 2).astype(np.int64)
        theirs = torchmetrics.retrieval.RetrievalMRR(top_k=10)(preds, torch.tensor(one), indexes=queries)
        assert mrr(one, scores) == pytest.approx(theirs.item(), abs=1e-6)


def test_several_labels(draws: np.random.Generator) -> None:
    for _ in range(10):
        labels, found = draws.integers(0, 2, (2, 20, 5))
        scores = evaluate("micro_f1", labels, found)
        preds, target = torch.tensor(found), torch.tensor(labels)
        for average in ("micro", "macro"):
            theirs = torchmetrics.classification.MultilabelF1Score(num_labels=5, average=average)(
                preds, target
            )
            assert scores[f"{average}_f1"] == pytest.approx(theirs.item(), abs=1e-6)
        exact = torchmetrics.classification.MultilabelExactMatch(num_labels=5)(preds, target)
        assert scores["subset_accuracy"] == pytest.approx(exact.item(), abs=1e-6)


def test_answers_as_squads_script_has_them(draws: np.random.Generator) -> None:
    for _ in range(50):
        answer, gold = (" ".join(draws.choice(WORDS, draws.integers(1, 5))) for _ in range(2))
        if not (normalised(answer) and normalised(gold)):  # SQuAD 1.1's script knows no empty answer
            continue
        theirs = torchmetrics.text.SQuAD()(
            [{"prediction_text": answer, "id": "1"}],
            [{"answers": {"text": [gold], "answer_start": [0]}, "id": "1"}],
        )
        assert 100 * answer_f1(answer, gold) == pytest.approx(theirs["f1"].item(), abs=1e-4)
        assert 100 * (normalised(answer) == normalised(gold)) == pytest.approx(theirs["exact_match"].item())


def test_perplexity(draws: np.random.Generator) -> None:
    tokens = draws.integers(0, 30, (6, 9))
    logits = torch.tensor(draws.normal(size=(6, 9, 30)), dtype=torch.float32)
    kind, batch = LanguageModel("log_likelihood"), {"input_ids": torch.tensor(tokens)}
    table = pa.table(
        {"id": [str(row) for row in range(6)], "input_ids": pa.array(tokens.tolist()), "label": [0] * 6}
    )
    judged = kind.judge(kind.kept(logits, batch), Split(table, 0))
    theirs = torchmetrics.text.Perplexity()(logits[:, :-1], torch.tensor(tokens)[:, 1:])
    assert judged.scores["perplexity"] == pytest.approx(theirs.item(), rel=1e-5)


def test_the_five_likeliest_classes(draws: np.random.Generator) -> None:
    labels = draws.integers(0, 10, 40)
    logits = torch.tensor(draws.normal(size=(40, 10)), dtype=torch.float32)
    table = pa.table(
        {"id": [str(row) for row in range(40)], "input_ids": pa.array([[1]] * 40), "label": labels}
    )
    kind = Images("accuracy", tuple("0123456789"))
    split = Split(table, 0)
    scores = kind.score(kind.judge(logits, split), split)
    for name, top in (("accuracy", 1), ("top5", 5)):
        accuracy = torchmetrics.classification.MulticlassAccuracy(10, top_k=top, average="micro")
        assert scores[name] == pytest.approx(accuracy(logits, torch.tensor(labels)).item())
