"""Each kind by hand: constants and losses, metrics against second implementations, bad rows."""

from __future__ import annotations

import json
import math
import re
import string
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.metrics import ndcg_score
from torch import nn

from pipeline.task.batches import Split
from pipeline.task.kinds import Embedding, MultiLabel, QuestionAnswering, Ranking, Tokens
from pipeline.task.kinds.base import Description
from pipeline.task.kinds.classification import soft_targets
from pipeline.task.kinds.question_answering import answer_f1, normalised
from pipeline.task.kinds.ranking import mrr, ndcg
from pipeline.task.loading import load_task, tokenise
from tests.kit.kinds import labelled
from tests.kit.toy import fitted_model


def split_of(label: pa.Array, **more: pa.Array) -> Split:
    count = len(label)
    columns = {
        "id": pa.array([f"train-{row + 1}" for row in range(count)]),
        "input_ids": pa.array([[1, 2]] * count),
    }
    return Split(pa.table({**columns, "label": label, **more}), pad_token_id=0)


# ---- rankings -------------------------------------------------------------------------------------------------------


def test_ndcg_is_scikit_learns_with_ties_too() -> None:
    draws = np.random.default_rng(0)
    for _ in range(50):
        relevance, scores = draws.integers(0, 3, 14), draws.integers(0, 5, 14) / 2
        relevance[0] = 1
        assert ndcg(relevance, scores) == pytest.approx(ndcg_score([relevance], [scores], k=10))


def test_mrr_of_ties_is_the_mean_over_their_orders() -> None:
    draws = np.random.default_rng(0)
    relevance, scores = np.array([0, 1, 0, 0, 1, 0]), np.array([1.0, 1, 0, 1, 0, 2])
    seen = []
    for _ in range(20_000):
        order = np.lexsort((draws.random(6), -scores))
        seen.append(1 / (1 + int(np.flatnonzero(relevance[order])[0])))
    assert mrr(relevance, scores) == pytest.approx(np.mean(seen), abs=0.005)
    assert mrr(np.array([0] * 10 + [1]), -np.arange(11.0)) == 0.0  # rank 11


def test_a_ranking_by_chance_by_hand() -> None:
    """One of two passages is relevant: rank 1 or 2 with equal chance."""
    split = split_of(pa.array([1.0, 0.0], pa.float32()), unit=pa.array([0, 0], pa.int32()))
    kind = Ranking("ndcg_10")
    assert kind.constant(split) == pytest.approx((1 + 1 / math.log2(3)) / 2)
    assert kind.constant_loss(split) == pytest.approx(math.log(2))


def test_listwise_loss_by_hand() -> None:
    kind = Ranking("ndcg_10", listwise=True)
    batch = {"labels": torch.tensor([1.0, 0.0, 0.0, 1.0]), "unit": torch.tensor([0, 0, 1, 1])}
    outputs = torch.tensor([[math.log(3)], [0.0], [0.0], [0.0]])
    expected = (math.log(4 / 3) + math.log(2)) / 4
    assert kind.loss(outputs, batch).item() == pytest.approx(expected)


# ---- several labels -------------------------------------------------------------------------------------------------


def test_several_labels_by_hand() -> None:
    """Shares 3/4 and 1/4. Always {a}: 3 of 4 hits, 4 predicted, 4 there; always {a, b}: 4, 8, 4."""
    there = pa.FixedSizeListArray.from_arrays(pa.array([1, 0, 1, 0, 1, 0, 0, 1], pa.float32()), 2)
    split, kind = split_of(there), MultiLabel("micro_f1", ("a", "b"))
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert kind.constant(split) == pytest.approx(max(2 * 3 / 8, 2 * 4 / 12))
    assert MultiLabel("subset_accuracy", ("a", "b")).constant(split) == 0.75
    assert kind.constant_loss(split) == pytest.approx(entropy)
    assert kind.untrained_loss(split) == pytest.approx(
        kind.loss(torch.zeros(4, 2), {"labels": torch.tensor(split.labels)}).item()
    )


def test_soft_labels_are_kl_divergences_of_bernoullis() -> None:
    ours, theirs = torch.tensor([[0.0, 1.0]]), torch.tensor([[2.0, -1.0]])
    p, q = (each.div(2).sigmoid() for each in (theirs, ours))
    kl = p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
    found = MultiLabel("micro_f1", ("a", "b")).soft_loss(ours, theirs, {}, temperature=2.0)
    assert found.item() == pytest.approx(4 * kl.mean().item(), rel=1e-5)


# ---- tagged words ---------------------------------------------------------------------------------------------------


def test_a_batch_without_any_word_teaches_nothing() -> None:
    """A part of a batch, or a text of which the tokenizer keeps nothing: a mean over no words would be NaN."""
    kind, taught = Tokens("entity_f1", ("O", "B-X", "I-X")), torch.randn(2, 4, 3)
    batch = {"labels": torch.full((2, 4), -100)}
    for loss in (kind.loss, lambda o, b: kind.soft_loss(o, taught, b, temperature=2.0)):
        outputs = torch.randn(2, 4, 3, requires_grad=True)
        found = loss(outputs, batch)
        found.backward()
        assert found.item() == 0
        assert outputs.grad is not None
        assert not outputs.grad.any()
    assert kind.weight(batch) == 0
    words = torch.tensor([[True, False, True, False], [False, True, False, False]])
    batch = {"labels": torch.where(words, 1, -100)}
    found = kind.soft_loss(outputs, taught, batch, temperature=2.0)
    alone = soft_targets(outputs[words], taught[words], temperature=2.0)
    assert found.item() == pytest.approx(alone.item())


def test_tags_are_learned_at_first_pieces(tmp_path: Path) -> None:
    _, tokenizer = fitted_model()
    kind = Tokens("entity_f1", ("O", "B-X", "I-X"))
    words = ["the", "riverbright", "story", "of", "warm"]
    rows = pa.table({
        "id": ["train-1"], "text_a": [json.dumps(words)], "label": pa.array([[0, 1, 2, 0, 1]], pa.list_(pa.int64()))
    })  # fmt: skip
    found = kind.encode(rows, tokenizer, max_length=6)  # [CLS] the [UNK] story of [SEP]
    assert found["word"].to_pylist() == [[-1, 0, 1, 2, 3, -1]]
    assert found["label"].to_pylist() == [[-100, 0, 1, 2, 0, -100]]
    split = Split(found, 0)
    assert kind.labels(split).tolist() == [[0, 9, 10, 0, 9]]
    logits = torch.zeros(1, 6, 3)
    for token, tag in enumerate([0, 0, 1, 2, 0, 0]):
        logits[0, token, tag] = 1
    judged = kind.judge(logits, split)
    assert judged.predictions.tolist() == [[0, 9, 10, 0, 0]]  # the word that was cut off is O
    assert kind.score(judged, split)["metric"] == pytest.approx(2 * 1 / (1 + 2))
    assert kind.constant(split) == 0.0
    entropy = -(0.5 * math.log(0.5) + 2 * 0.25 * math.log(0.25))  # O twice, B, I, of four words
    assert kind.constant_loss(split) == pytest.approx(entropy)


def test_an_unknown_tag_is_named_with_its_row_in_the_file() -> None:
    rows = pa.table({"id": ["test-7"], "text_a": ['["the", "river"]'], "label": ['["O", "B-Y"]']})
    with pytest.raises(ValueError, match=r"row 7 has the tag 'B-Y', which train has not \(O, B-X\)"):
        Tokens("entity_f1", ("O", "B-X")).numbered(rows)


# ---- question answering ---------------------------------------------------------------------------------------------


def official_f1(prediction: str, truth: str) -> float:
    """SQuAD 2.0's compute_f1, from its script."""

    def normalize_answer(s: str) -> str:
        lower = s.lower()
        no_punctuation = "".join(ch for ch in lower if ch not in set(string.punctuation))
        return " ".join(re.sub(r"\b(a|an|the)\b", " ", no_punctuation).split())

    gold, pred = normalize_answer(truth).split(), normalize_answer(prediction).split()
    same = sum((Counter(gold) & Counter(pred)).values())
    if len(gold) == 0 or len(pred) == 0:
        return float(gold == pred)
    if same == 0:
        return 0.0
    precision, recall = same / len(pred), same / len(gold)
    return 2 * precision * recall / (precision + recall)


@pytest.mark.parametrize(
    "answer", ["The Eiffel Tower!", "eiffel", "", "a the", "tower, of Eiffel", "An apple"]
)
@pytest.mark.parametrize("gold", ["Eiffel tower", "the", "", "apple apple"])
def test_answers_are_compared_as_squads_script_does(answer: str, gold: str) -> None:
    assert answer_f1(answer, gold) == pytest.approx(official_f1(answer, gold))
    assert normalised("  The, a  Tower. ") == "tower"


def questions() -> tuple[QuestionAnswering, Split]:
    _, tokenizer = fitted_model()
    kind = QuestionAnswering("answer_f1", no_answer=True)
    context = "the story of a bright river and its people was in every warm scene"
    rows = pa.table({
        "id": ["train-1", "train-2"], "text_a": ["how of the river", "some"], "text_b": [context, context],
        "label": [json.dumps([["warm", context.index("warm")]]), "[]"],
    })  # fmt: skip
    return kind, Split(kind.encode(rows, tokenizer, max_length=16), 0)


def test_a_long_context_is_read_in_windows_that_overlap() -> None:
    _, split = questions()
    units, labels = split.units.tolist(), split.labels.tolist()
    assert units.count(0) > 1
    context = split.table["context"][0].as_py()
    for window, (start, end) in enumerate(labels):
        starts, ends = split.table["start"][window].as_py(), split.table["end"][window].as_py()
        if end:
            assert context[starts[start] : ends[end]] == "warm"
    assert sum(end > 0 for _, end in labels) >= 1
    covered = {
        place for window in range(units.count(0)) for place in split.table["start"][window].as_py()
    } - {-1}
    assert {match.start() for match in re.finditer(r"\w+", context)} <= covered


def test_white_space_before_a_long_question_does_not_shift_where_it_is_cut() -> None:
    _, tokenizer = fitted_model()
    kind, long = QuestionAnswering("answer_f1"), "the story of the river is the scene of a story"
    found = [
        kind.encode(
            pa.table({"id": ["train-1"], "text_a": [question], "text_b": ["warm river"], "label": ["[]"]}),
            tokenizer, max_length=12,
        )["input_ids"].to_pylist()
        for question in (long, f"   {long}")
    ]  # fmt: skip
    assert found[0] == found[1]
    assert len(found[0][0]) == 3 + 6 + 2  # half of a row's tokens are the question's at most


def test_the_best_span_of_all_windows_is_the_answer() -> None:
    kind, split = questions()
    logits = torch.zeros(len(split), int(split.lengths.max()), 2)
    for window, (start, end) in enumerate(split.labels):
        if end:
            logits[window, start, 0] = logits[window, end, 1] = 5
        elif split.units[window]:
            logits[window, 0] = 1
    judged = kind.judge(logits, split)
    assert judged.predictions.tolist() == [[1, 1], [1, 1]]
    assert kind.constant(split) == 0.5  # no answer: right for one of two
    assert len(kind.ids(split)) == 2


# ---- embeddings -----------------------------------------------------------------------------------------------------


def test_embeddings_by_hand() -> None:
    kind = Embedding("cosine")
    batch = {"attention_mask": torch.tensor([[1, 1, 0]]), "labels": torch.tensor([[0.6, 0.8]])}
    hidden = torch.tensor([[[2.0, 0.0], [0.0, 2.0], [9.0, 9.0]]])
    found = kind.outputs(type("Found", (), {"last_hidden_state": hidden}), batch)
    assert found[0].tolist() == pytest.approx([math.sqrt(0.5)] * 2)
    assert kind.loss(found, batch).item() == pytest.approx(1 - 1.4 * math.sqrt(0.5), abs=1e-6)
    first = Embedding("cosine", pooling="cls").outputs(
        type("Found", (), {"last_hidden_state": hidden}), batch
    )
    assert first.tolist() == [[1.0, 0.0]]
    vectors = labelled(np.zeros(2)).with_labels(np.array([[1.0, 0.0], [0.0, 1.0]]))
    assert kind.constant_loss(vectors) == pytest.approx(1 - math.sqrt(0.5))
    judged = kind.judge(torch.eye(2), vectors)
    assert kind.score(judged, vectors)["metric"] == 1.0


def test_pairs_with_scores_are_compared_by_their_cosines(tmp_path: Path) -> None:
    words = ["warm story", "cold river", "bright scene", "dull people", "noisy story", "gentle river"]
    pairs = [
        {"sentence1": words[row % 6], "sentence2": f"{words[row // 6]} {row}", "score": row % 5}
        for row in range(36)
    ]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    task = load_task(
        str(tmp_path / "pairs.jsonl"), cache=tmp_path, kind="embedding", metric="spearman", max_length=16
    )
    split = tokenise(task, fitted_model()[1]).train
    assert len(split) == 2 * len(task.kind.ids(split))
    assert split.units is None  # so that batches are of texts of one length
    drawn = nn.functional.normalize(
        torch.randn(len(split), 4, generator=torch.Generator().manual_seed(0)), dim=-1
    )
    answered = split.with_labels(drawn.numpy())
    judged = task.kind.judge(drawn, answered)
    expected = [float(drawn[2 * pair] @ drawn[2 * pair + 1]) for pair in range(len(split) // 2)]
    assert judged.predictions.tolist() == pytest.approx(expected, abs=1e-6)
    scores = [float(task.train["label"][row].as_py()) for row in range(task.train.num_rows)]
    assert task.kind.labels(answered).tolist() == scores
    found = task.kind.score(judged, answered)
    assert found["metric"] == pytest.approx(spearmanr(scores, expected).statistic)
    assert found["cosine"] == pytest.approx(1.0)


def test_labels_that_unicode_calls_digits_are_names() -> None:
    """`int("²")` is an error; numbers come after names, by value."""
    labels = [["²", "10"], ["①"], ["9", "x"], ["9" * 5000]] * 2
    rows = pa.table({"id": [f"train-{row + 1}" for row in range(8)], "label": list(map(json.dumps, labels))})
    kind = MultiLabel.learn(rows, Description("micro_f1"))
    assert kind.class_names == ("9" * 5000, "x", "²", "①", "9", "10")


def test_an_answer_may_begin_with_a_bracket() -> None:
    rows = pa.table(
        {
            "id": ["train-1", "train-2", "train-3"],
            "text_a": ["which?"] * 3,
            "text_b": ["see [1] there", "see {x} there", "see [] there"],
            "label": ["[1]", "{x}", "[]"],
        }
    )
    found = QuestionAnswering.learn(rows, Description("answer_f1")).numbered(rows)
    assert found["label"].to_pylist() == ['[["[1]", 4]]', '[["{x}", 4]]', "[]"]
