"""The built-in corpus as other kinds: what rows say is true of the corpus, and they can be learned."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge

from pipeline.task.docstring_kinds import DATA_LIBRARIES, PREFIX, RECIPES, TAGGED, Made
from pipeline.task.docstrings import rows_of
from pipeline.task.kinds import KINDS
from pipeline.task.loading import Task, load_task, open_test
from pipeline.task.place import NAMES


def packages(split: str) -> dict[str, str]:
    table = pq.read_table(rows_of(split))
    return dict(zip(table["text"].to_pylist(), table["label"].to_pylist(), strict=True))


def within(text: str, known: dict[str, str]) -> list[str]:
    """The packages of the corpus' sentences that a text is made of, in their order."""
    found = []
    while text:
        sentence = max((each for each in known if text.startswith(each)), key=len)
        found.append(known[sentence])
        text = text.removeprefix(sentence).lstrip()
    return found


@pytest.fixture(scope="module")
def known() -> dict[str, str]:
    return packages("test")


def test_each_kind_has_rows_that_need_no_download() -> None:
    assert {*KINDS} == {*RECIPES} | {"classification", "images"}  # builtin/docstrings, builtin/digits
    assert {f"{PREFIX}{kind}" for kind in RECIPES} < {*NAMES}


@pytest.mark.parametrize("kind", RECIPES)
def test_it_is_a_task(kind: str, tmp_path: Path) -> None:
    task = load_task(f"{PREFIX}{kind}", cache=tmp_path)
    assert (task.kind.name, task.metric) == (kind, RECIPES[kind].metric)
    assert task.train.num_rows >= 1000
    assert task.validation.num_rows >= 200
    assert open_test(task)["test"].num_rows >= 150
    assert not task.shared
    assert task.fingerprint == load_task(f"{PREFIX}{kind}", cache=tmp_path).fingerprint
    assert not [*tmp_path.iterdir()]


def test_labels_are_the_packages(known: dict[str, str]) -> None:
    for row in Made("multi-label", "test").read("test").to_pylist()[:60]:
        assert json.loads(row["label"]) == sorted({*within(row["text_a"], known)})
    for row in Made("regression", "test").read("test").to_pylist()[:60]:
        there = within(row["text_a"], known)
        assert float(row["label"]) == pytest.approx(
            sum(each in DATA_LIBRARIES for each in there) / 3, abs=1e-3
        )
    for row in Made("embedding", "test").read("test").to_pylist():
        assert int(row["label"]) == (known[row["text_a"]] == known[row["text_b"]])


def test_tags_are_sentences(known: dict[str, str]) -> None:
    for row in Made("tokens", "test").read("test").to_pylist()[:60]:
        words, tags = json.loads(row["text_a"]), json.loads(row["label"])
        there = within(" ".join(words), known)
        assert len({*there}) == 2
        assert [tag[2:] for tag in tags if tag.startswith("B-")] == [each for each in there if each in TAGGED]


def test_answers_are_the_sentences_of_a_package(known: dict[str, str]) -> None:
    none = 0
    for row in Made("question-answering", "test").read("test").to_pylist():
        answers, there = json.loads(row["label"]), within(row["text_b"], known)
        asked = row["text_a"].removeprefix("What is written of ").removesuffix("?")
        none += not answers
        assert (asked in there) == bool(answers)
        for answer in answers:
            assert known[answer["text"]] == asked
            assert row["text_b"][answer["answer_start"] :].startswith(answer["text"])
    assert 0.1 < none / 158 < 0.25


def test_passages_have_the_word_and_are_of_the_package(known: dict[str, str]) -> None:
    lists = defaultdict(list)
    for row in Made("ranking", "test").read("test").to_pylist():
        package, word = row["text_a"].split(": ")
        assert word in row["text_b"]
        assert int(row["label"]) == (known[row["text_b"]] == package)
        lists[row["text_a"]].append(int(row["label"]))
    assert {(sum(each), len(each)) for each in lists.values()} == {(2, 6)}


def words_of(task: Task) -> tuple[TfidfVectorizer, object, object]:
    vectors = TfidfVectorizer()
    train = vectors.fit_transform(task.train["text_a"].to_pylist())
    return vectors, train, vectors.transform(task.validation["text_a"].to_pylist())


def test_words_tell_the_labels(tmp_path: Path) -> None:
    """By tf-idf: several labels (each 1 of 7) and shares can be learned of 2,000 rows."""
    task = load_task(f"{PREFIX}multi-label", cache=tmp_path)
    _, train, validation = words_of(task)
    labels, truth = ([row[0] for row in rows["label"].to_pylist()] for rows in (task.train, task.validation))
    model = LogisticRegression(C=10, class_weight="balanced").fit(train, labels)
    hits = model.predict(validation) == truth
    assert hits.mean() > max(sum(truth), len(truth) - sum(truth)) / len(truth)
    task = load_task(f"{PREFIX}regression", cache=tmp_path)
    _, train, validation = words_of(task)
    model = Ridge().fit(train, task.train["label"].to_pylist())
    assert model.score(validation, task.validation["label"].to_pylist()) > 0.2
