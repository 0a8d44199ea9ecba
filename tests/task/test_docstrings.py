"""The built-in corpus: what counts as a sentence, what is masked, and the corpus itself."""

import json
import platform
import re
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from textwrap import dedent

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from pipeline.task.docstrings import (
    MAX_WORDS,
    MIN_WORDS,
    PACKAGES,
    TEST_PER_CLASS,
    TRAIN_PER_CLASS,
    VERSIONS,
    corpus,
    docstrings,
    rows_of,
    sentences,
    write_rows,
)
from pipeline.task.loading import load_task, open_test

SIX = "One two three four five six."


@pytest.fixture(scope="module")
def splits() -> tuple[pa.Table, pa.Table]:
    return pq.read_table(rows_of("train")), pq.read_table(rows_of("test"))


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        (SIX, [SIX]),
        ("One two three four five.", []),
        (f"{' '.join(['Word'] + ['word'] * 32)}.", []),
        ("Splits here, at the full stop. The second one has enough words.",
         ["Splits here, at the full stop.", "The second one has enough words."]),
        ("Joins lines that\nbelong to one sentence only.", ["Joins lines that belong to one sentence only."]),
        ("Abbreviations, e.g. Those with dots, do not end it.",
         ["Abbreviations, e.g. Those with dots, do not end it."]),
        (">>> This line is a doctest, not real prose.", []),
        ("alpha : This line belongs to a parameter table.", []),
        (".. note:: This line is a directive of Sphinx.", []),
        ("- This line is an item of a list.", []),
        ("Returns x = y + z if the flag is set.", []),
        ("The :class:`~a.b.Thing` is a **bold** word with ``code`` inside.",
         ["The a.b.Thing is a bold word with code inside."]),
        ("The [`Thing`] and the [guide](https://x.org/y) are links of Markdown.",
         ["The Thing and the guide are links of Markdown."]),
        ("One paragraph that ends in the middle\n\nOf a sentence with a few words.",
         ["Of a sentence with a few words."]),
        ("A header with no full stop\n    An indented sentence with its own start.",
         ["An indented sentence with its own start."]),
    ],
)  # fmt: skip
def test_sentences(docstring: str, expected: list[str]) -> None:
    assert list(sentences(docstring)) == expected


@pytest.mark.parametrize(
    "name",
    [
        "pandas", "Pandas", "pd.DataFrame", "SciPy", "scipy.stats.norm", "scikit-learn", "sklearn", "PyTorch",
        "torch.nn.Linear", "TorchDynamo", "torch-based", "transformers.PreTrainedModel", "Hugging Face",
        "HuggingFace", "HfArgumentParser", "ray", "ray.init()", "RayActor", "RLlib", "Python", "CPython",
        "Python3", "non-Python", "pythonic", "setup.py", ".py", "a.b.pandas.c", "MyRayActor",
    ],
)  # fmt: skip
def test_names_are_masked_with_their_paths(name: str) -> None:
    assert list(sentences(f"The word {name} must not be seen here.")) == [
        "The word package must not be seen here."
    ]


@pytest.mark.parametrize(
    "word", ["array", "arrays", "transformer", "tray", "expand", "copy", "happy", "half"]
)
def test_other_words_stay(word: str) -> None:
    sentence = f"The word {word} must still be seen here."
    assert list(sentences(sentence)) == [sentence]


def test_docstrings_of_modules_classes_and_functions() -> None:
    source = dedent(
        """
        "module"
        x = "no docstring"
        class A:
            "class"
            def f(self):
                "method"
                "no docstring"
        if x:
            async def g():
                "\\d: an escape that Python warns of"
        """
    )
    escape = "\\d: an escape that Python warns of"
    assert list(docstrings(source.encode())) == ["module", "class", "method", escape]
    assert list(docstrings(b"def broken(:")) == []
    assert list(docstrings(b"\xff\xfe not text")) == []


def test_a_sentence_of_two_packages_is_left_out(tmp_path: Path) -> None:
    for name, own in (("a", "alpha"), ("b", "beta")):
        (tmp_path / name).mkdir()
        shared = "This is what both of them say."
        (tmp_path / name / "m.py").write_text(f'"""{shared} This is what only {own} has said."""')
        (tmp_path / name / "tests").mkdir()
        (tmp_path / name / "tests" / "t.py").write_text('"""Tests are none of the package\'s own words."""')
    train, test = corpus({name: tmp_path / name for name in ("a", "b")})
    assert train.num_rows == 0  # test is filled first
    assert sorted(test.to_pylist(), key=lambda row: row["label"]) == [
        {"text": "This is what only alpha has said.", "label": "a"},
        {"text": "This is what only beta has said.", "label": "b"},
    ]


def test_balanced(splits: tuple[pa.Table, pa.Table]) -> None:
    for table, rows in zip(splits, (TRAIN_PER_CLASS, TEST_PER_CLASS), strict=True):
        assert Counter(table["label"].to_pylist()) == dict.fromkeys(PACKAGES, rows)


def test_no_sentence_twice_and_none_in_both(splits: tuple[pa.Table, pa.Table]) -> None:
    texts = [text for table in splits for text in table["text"].to_pylist()]
    letters = ["".join(filter(str.isalpha, text.lower())) for text in texts]
    assert len(set(letters)) == len(letters)


def test_no_package_is_named(splits: tuple[pa.Table, pa.Table]) -> None:
    names = ("scipy", "scikit", "sklearn", "pandas", "torch", "transformers", "hugging", "python")
    words = {"ray", "pd", "hf", "rllib", "py", "pyc"}
    for table in splits:
        for text in table["text"].to_pylist():
            assert not [name for name in names if name in text.lower()], text
            assert not words.intersection(re.split(r"[^a-z0-9]+", text.lower())), text


def test_lengths(splits: tuple[pa.Table, pa.Table]) -> None:
    words = [text.count(" ") + 1 for table in splits for text in table["text"].to_pylist()]
    assert (min(words), max(words)) == (MIN_WORDS, MAX_WORDS)


@pytest.mark.long
def test_the_rows_are_those_of_the_versions_that_the_files_name(
    splits: tuple[pa.Table, pa.Table], tmp_path: Path
) -> None:
    named, same = (
        json.loads(pq.read_schema(rows_of(split)).metadata[VERSIONS.encode()]) for split in ("train", "test")
    )
    assert same == named
    assert named.keys() == {"python", *(package[0] for package in PACKAGES.values() if package)}
    here = {name: platform.python_version() if name == "python" else version(name) for name in named}
    if here != named:
        pytest.skip("other versions are installed here")
    write_rows(tmp_path)
    for split, table in zip(("train", "test"), splits, strict=True):
        assert pq.read_table(tmp_path / f"{split}.parquet").equals(table)


def test_neither_the_order_of_files_nor_their_place_matters(tmp_path: Path) -> None:
    modules = {
        f"m{number}.py": f'"""Module {"x" * number} says a thing of its own."""' for number in range(1, 41)
    }
    tables = []
    for place, names in (("here", list(modules)), ("there", list(modules)[::-1])):
        root = tmp_path / place / "package"
        root.mkdir(parents=True)
        for name in names:
            (root / name).write_text(modules[name])
        tables.append(corpus({"one": root}))
    assert tables[0] == tables[1]
    assert tables[0][1].num_rows == 40


def test_as_a_task(tmp_path: Path) -> None:
    task = load_task("builtin/docstrings", cache=tmp_path)
    assert (task.name, task.metric, len(task.class_names)) == ("builtin/docstrings", "accuracy", 7)
    assert task.class_names == tuple(sorted(PACKAGES))
    assert (task.train.num_rows, task.validation.num_rows) == (6003, 1501)
    assert set(Counter(task.validation["label"].to_pylist()).values()) == {214, 215}
    assert {part: rows.num_rows for part, rows in open_test(task).items()} == {"test": 1001}


def test_real_language_and_not_trivial(splits: tuple[pa.Table, pa.Table]) -> None:
    """Chance is 1/7. Above 0.8 a bag of words would settle it; the standard error is 0.015."""
    train, test = ((table["text"].to_pylist(), table["label"].to_pylist()) for table in splits)
    model = make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=1000)).fit(*train)
    assert 0.62 < model.score(*test) < 0.75
