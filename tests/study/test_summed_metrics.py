"""Metrics of several labels, entities and ranks against second implementations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from pipeline.study.metrics import evaluate
from pipeline.study.summed_metrics import ABSENT, entity_counts, tag_code

TYPES = ("LOC", "PER")
PLAIN = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
BIOES = (*PLAIN, "E-LOC", "S-LOC", "E-PER", "S-PER")


def codes(rows: list[list[str]]) -> np.ndarray:
    found = np.full((len(rows), max(map(len, rows))), ABSENT)
    for row, tags in enumerate(rows):
        found[row, : len(tags)] = [tag_code(tag, TYPES) for tag in tags]
    return found


def conlleval(tags: list[str]) -> set[tuple[int, int, str]]:
    """The entities of a sentence, word by word as CoNLL's perl script finds them."""
    found, begun, before, type_before = set(), None, "O", ""
    for place, tag in enumerate([*tags, "O"]):
        prefix, _, kind = tag.partition("-")
        ends = (
            before in ("E", "S")
            or (before in ("B", "I") and prefix in ("B", "S", "O"))
            or (before != "O" and type_before != kind)
        )
        starts = (
            prefix in ("B", "S")
            or (before in ("E", "S", "O") and prefix in ("E", "I"))
            or (prefix != "O" and type_before != kind)
        )
        if begun is not None and ends:
            found.add((begun, place - 1, type_before))
            begun = None
        if starts and prefix != "O":
            begun = place
        before, type_before = prefix, kind
    return found


@pytest.mark.parametrize("tags", [PLAIN, BIOES])
@given(data=st.data())
def test_entities_are_those_of_conlls_script(tags: tuple[str, ...], data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(1, 8), min_size=1, max_size=4))
    truth, found = (
        [data.draw(st.lists(st.sampled_from(tags), min_size=size, max_size=size)) for size in sizes]
        for _ in range(2)
    )
    counts = entity_counts(codes(truth), codes(found))
    for row, (one, two) in enumerate(zip(truth, found, strict=True)):
        there, predicted = conlleval(one), conlleval(two)
        assert counts[row].tolist() == [len(there & predicted), len(predicted), len(there)]


def test_entity_f1_by_hand() -> None:
    """Of three entities one is found, one has a wrong end, one a wrong type: F1 = 2 · 1 / (3 + 3)."""
    truth = codes([["B-PER", "I-PER", "O", "B-LOC"], ["B-LOC", "I-LOC"]])
    found = codes([["B-PER", "I-PER", "O", "B-PER"], ["B-LOC", "O"]])
    scores = evaluate("entity_f1", truth, found)
    assert scores == pytest.approx({"metric": 1 / 3, "entity_f1": 1 / 3, "precision": 1 / 3, "recall": 1 / 3})


@pytest.mark.parametrize("tags", [PLAIN, BIOES])
def test_entity_f1_is_seqevals(tags: tuple[str, ...]) -> None:
    seqeval = pytest.importorskip("seqeval.metrics")
    draws = np.random.default_rng(0)
    for _ in range(20):
        truth, found = ([[str(t) for t in draws.choice(tags, 6)] for _ in range(5)] for _ in range(2))
        assert evaluate("entity_f1", codes(truth), codes(found))["metric"] == pytest.approx(
            seqeval.f1_score(truth, found, zero_division=0)
        )


def test_several_labels_are_scikit_learns() -> None:
    draws = np.random.default_rng(0)
    for _ in range(20):
        truth, found = draws.integers(0, 2, (2, 12, 4))
        expected = {
            "micro_f1": f1_score(truth, found, average="micro", zero_division=0),
            "macro_f1": f1_score(truth, found, average="macro", zero_division=0),
            "subset_accuracy": accuracy_score(truth, found),
        }
        for name, value in expected.items():
            assert evaluate(name, truth, found) == pytest.approx({"metric": value} | expected)
