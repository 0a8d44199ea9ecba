"""Running text: blocks by hand, the library's own loss, and what is the same for all tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import transformers
from scipy.stats import entropy

from pipeline.task.batches import Split, encoder_inputs
from pipeline.task.kinds import Description, LanguageModel
from pipeline.trial.conformance.networks import tiny_config

KIND = LanguageModel("log_likelihood")


def tokenizer(longest: int = 100) -> Any:
    """Each letter is a token, a = 1; the end is 0."""

    def split(texts: list[str], **_: object) -> dict[str, list[list[int]]]:
        return {"input_ids": [[ord(letter) - 96 for letter in text] for text in texts]}

    split.model_max_length, split.eos_token_id = longest, 0  # type: ignore[attr-defined]
    return split


def rows(*texts: str) -> pa.Table:
    ids = [f"train-{row}" for row in range(len(texts))]
    return KIND.numbered(pa.table({"id": ids, "text_a": list(texts), "label": ["?"] * len(texts)}))


def blocks(generator: np.random.Generator, count: int = 6, length: int = 7) -> Split:
    tokens = generator.integers(1, 90, (count, length)).tolist()
    table = pa.table(
        {"id": [str(row) for row in range(count)], "input_ids": pa.array(tokens, pa.list_(pa.int32()))}
    )
    return Split(table.append_column("label", pa.array(np.zeros(count, np.int64))), 0)


def test_texts_are_joined_and_cut_into_whole_blocks() -> None:
    found = KIND.encode(rows("abc", "d", "efgh"), tokenizer(), max_length=4)
    assert found["input_ids"].to_pylist() == [[1, 2, 3, 0], [4, 0, 5, 6]]  # 7 8 0 are no whole block
    assert found["id"].to_pylist() == ["block-1", "block-2"]
    assert KIND.encode(rows("abcdefgh"), tokenizer(longest=3), max_length=4)["input_ids"].to_pylist() == [
        [1, 2, 3], [4, 5, 6], [7, 8, 0],
    ]  # fmt: skip
    with pytest.raises(ValueError, match="at least one block of 9 tokens; this has 3"):
        KIND.encode(rows("ab"), tokenizer(), max_length=9)


def test_the_loss_is_the_library_s() -> None:
    model = transformers.GPT2LMHeadModel(tiny_config("gpt2")).eval()
    split = blocks(np.random.default_rng(0))
    batch = split.collate(np.arange(6))
    with torch.no_grad():
        found = model(**encoder_inputs(batch), labels=batch["input_ids"])
    outputs = KIND.outputs(found, batch)
    assert KIND.loss(outputs, batch).item() == pytest.approx(found.loss.item(), rel=1e-6)
    judged = KIND.judge(KIND.kept(outputs, batch), split)
    assert judged.loss == pytest.approx(found.loss.item(), rel=1e-6)
    scores = KIND.score(judged, split)
    assert scores["metric"] == pytest.approx(-found.loss.item(), rel=1e-6)
    assert scores["perplexity"] == pytest.approx(np.exp(found.loss.item()), rel=1e-5)
    drawn = [
        KIND.drawn_loss(outputs, batch, torch.Generator().manual_seed(seed)).item() for seed in range(20)
    ]
    assert np.mean(drawn) / 6 == pytest.approx(
        torch.distributions.Categorical(logits=outputs[:, :-1]).entropy().mean().item(), rel=0.1
    )


def test_a_unigram_is_the_constant() -> None:
    split = blocks(np.random.default_rng(1))
    tokens = np.concatenate([row[1:] for row in split.table["input_ids"].to_pylist()])
    expected = entropy(np.unique(tokens, return_counts=True)[1])
    assert KIND.constant_loss(split) == pytest.approx(expected)
    assert KIND.constant(split) == pytest.approx(-expected)
    part = split.take(np.array([4, 1]))
    tokens = np.concatenate([row[1:] for row in part.table["input_ids"].to_pylist()])
    assert KIND.constant_loss(part) == pytest.approx(entropy(np.unique(tokens, return_counts=True)[1]))


def test_a_teacher_s_likeliest_words_are_learned() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, other = (torch.randn(2, 5, 40, generator=generator) for _ in range(2))
    taught = KIND.taught(logits, {})
    assert taught.shape == (2, 5, 32)
    assert KIND.soft_loss(logits, taught, {}, temperature=2.0).item() == pytest.approx(0, abs=1e-6)
    total = 0.0
    for row in range(2):
        for token in range(4):
            best = logits[row, token].topk(16).indices
            p, q = (each[row, token, best].div(2).softmax(-1).numpy() for each in (logits, other))
            total += 4 * float(entropy(p, q)) / 8
    assert KIND.soft_loss(other, taught, {}, temperature=2.0).item() == pytest.approx(total, rel=1e-4)


@pytest.mark.parametrize(
    ("table", "described", "message"),
    [
        ({"text_a": ["a"], "text_b": ["b"]}, Description("log_likelihood"), "one text, these have two"),
        ({"text_a": ["a"]}, Description("log_likelihood", positive="1"), "running text has none"),
    ],
)
def test_what_is_no_running_text(table: dict[str, list[str]], described: Description, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LanguageModel.learn(pa.table({"id": ["x"], **table, "label": ["?"]}), described)


def test_blocks_are_whole_in_batches_for_a_gpu_too() -> None:
    """Lengths of other kinds are multiples of 16 there; a block that is filled up would predict its filling."""
    reader = tokenizer()
    reader.pad_token_id = 0
    split = KIND.split(KIND.encode(rows("abcdefghij", "klmnopqrst"), reader, max_length=10), reader)
    batch = replace(split, multiple=16).collate(np.arange(2))
    assert batch["input_ids"].tolist() == split.collate(np.arange(2))["input_ids"].tolist()
    assert batch["input_ids"].shape == (2, 10)
    assert batch["attention_mask"].all()


def test_a_block_of_one_token_predicts_nothing() -> None:
    with pytest.raises(ValueError, match="two tokens or more; max_length is 1"):
        KIND.encode(rows("abc"), tokenizer(), max_length=1)
