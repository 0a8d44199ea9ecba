"""Hub data sets of the forms that people have: columns found by name, classes by their features, hidden test labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Features, Image, List, Value
from PIL import Image as Pillow

from pipeline.study.records import BadInput
from pipeline.task.hub import HubSource, look_into_hub
from pipeline.task.kinds import KINDS
from pipeline.task.loading import load_task, open_test

TEXT, INT = Value("string"), Value("int32")
YES = ClassLabel(names=["no", "yes"])
NAMED = ClassLabel(names=["O", "B-PER", "I-PER"])


def lay_out(folder: Path, config: str, features: dict[str, Any], columns: dict[str, list[Any]]) -> str:
    """A data set as the hub has it, with a train and a validation split, and a test split without labels."""
    declared = Features(features)
    count = len(next(iter(columns.values())))
    hidden = {
        name: [-1] * count if isinstance(features[name], ClassLabel) else values
        for name, values in columns.items()
    }
    lines = ["---", "configs:", f"- config_name: {config}", "  data_files:"]
    (folder / config).mkdir(parents=True)
    for split, values in (("train", columns), ("validation", columns), ("test", hidden)):
        lines += [f"  - split: {split}", f"    path: {config}/{split}-*"]
        schema = declared.arrow_schema
        table = pa.table(declared.encode_batch(values), schema=schema)
        pq.write_table(table, folder / config / f"{split}-00000-of-00001.parquet")
    (folder / "README.md").write_text("\n".join([*lines, "---", ""]))
    return f"hf:{folder}@{config}"


def texts(name: str, count: int = 40) -> list[str]:
    return [f"{name} {row}" for row in range(count)]


CLASSES = [row % 2 for row in range(40)]
PAIRS = {
    # SuperGLUE's
    "boolq": ({"question": TEXT, "passage": TEXT, "idx": INT, "label": YES}, ("question", "passage"), "label"),
    "cb": ({"premise": TEXT, "hypothesis": TEXT, "idx": INT, "label": YES}, ("premise", "hypothesis"), "label"),
    "rte": ({"premise": TEXT, "hypothesis": TEXT, "idx": INT, "label": YES}, ("premise", "hypothesis"), "label"),
    "wic": (
        {"word": TEXT, "sentence1": TEXT, "sentence2": TEXT, "idx": INT, "label": YES},
        ("sentence1", "sentence2"), "label",
    ),
    # XTREME's
    "XNLI": (
        {"language": TEXT, "sentence1": TEXT, "sentence2": TEXT, "gold_label": YES},
        ("sentence1", "sentence2"), "gold_label",
    ),
    "PAWS-X.de": ({"sentence1": TEXT, "sentence2": TEXT, "label": YES}, ("sentence1", "sentence2"), "label"),
}  # fmt: skip


@pytest.mark.parametrize("config", PAIRS)
def test_pairs_of_superglue_and_xtreme(config: str, tmp_path: Path) -> None:
    features, text, label = PAIRS[config]
    columns = {
        name: CLASSES if kind is YES else list(range(40)) if kind is INT else texts(name)
        for name, kind in features.items()
    }
    name = lay_out(tmp_path / "set", config, features, columns)
    task = load_task(name, cache=tmp_path)
    assert task.text == text
    assert task.class_names == ("no", "yes")
    assert task.train["text_a"][0].as_py().startswith(f"{text[0]} ")
    assert task.train["text_b"][0].as_py().startswith(f"{text[1]} ")
    said = f"set@{config}: text is {' and '.join(text)}, label is {label} (of {', '.join(features)})."
    assert said in task.remarks
    assert open_test(task)["test"].num_rows == 40  # validation's rows: the test labels are hidden


def test_tagged_words_have_the_names_of_their_features(tmp_path: Path) -> None:
    """XTREME's PAN-X."""
    columns = {
        "tokens": [["a", "river", f"word{row}"] for row in range(40)],
        "ner_tags": [[0, 1, 2]] * 40,
        "langs": [["de"] * 3] * 40,
    }
    features = {"tokens": List(TEXT), "ner_tags": List(NAMED), "langs": List(TEXT)}
    task = load_task(lay_out(tmp_path / "set", "PAN-X.de", features, columns), cache=tmp_path, kind="tokens")
    assert task.class_names == ("O", "B-PER", "I-PER")
    assert task.train["label"][0].as_py() == [0, 1, 2]
    assert any("text is tokens, label is ner_tags" in remark for remark in task.remarks)


def test_several_labels_have_the_names_of_their_features(tmp_path: Path) -> None:
    columns = {"text": texts("text"), "labels": [[0], [1], [0, 1], [1]] * 10, "id": texts("id")}
    features = {"text": TEXT, "labels": List(ClassLabel(names=["joy", "anger"])), "id": TEXT}
    task = load_task(
        lay_out(tmp_path / "set", "simplified", features, columns), cache=tmp_path, kind="multi-label"
    )
    assert task.class_names == ("anger", "joy")
    assert {tuple(row) for row in task.train["label"].to_pylist()} == {(1.0, 0.0), (0.0, 1.0), (1.0, 1.0)}


def test_questions_as_squad_has_them(tmp_path: Path) -> None:
    columns = {
        "id": texts("id"),
        "title": texts("title"),
        "context": [f"the river {row} is warm" for row in range(40)],
        "question": texts("question"),
        "answers": [
            {"text": [], "answer_start": []} if row % 4 == 0 else {"text": ["river"], "answer_start": [4]}
            for row in range(40)
        ],
    }
    features = {
        "id": TEXT, "title": TEXT, "context": TEXT, "question": TEXT,
        "answers": {"text": List(TEXT), "answer_start": List(INT)},
    }  # fmt: skip
    name = lay_out(tmp_path / "set", "squad_v2", features, columns)
    task = load_task(name, cache=tmp_path, kind="question-answering")
    assert (task.text, task.kind.no_answer) == (("question", "context"), True)
    assert {*task.train["label"].to_pylist()} == {"[]", json.dumps([["river", 4]])}


def test_scored_pairs_and_lists_of_passages(tmp_path: Path) -> None:
    scores = [float(row % 6) for row in range(40)]
    name = lay_out(
        tmp_path / "sts", "default", {"sentence1": TEXT, "sentence2": TEXT, "score": Value("float32")},
        {"sentence1": texts("one"), "sentence2": texts("two"), "score": scores},
    )  # fmt: skip
    task = load_task(name, cache=tmp_path, kind="embedding", metric="spearman")
    assert (task.text, {*task.train["label"].to_pylist()}) == (("sentence1", "sentence2"), {*scores})
    name = lay_out(
        tmp_path / "ranks", "default", {"query": TEXT, "passage": TEXT, "relevance": INT},
        {"query": [f"query {row // 4}" for row in range(40)], "passage": texts("p"), "relevance": [1, 0, 0, 2] * 10},
    )  # fmt: skip
    task = load_task(name, cache=tmp_path, kind="ranking")
    assert (task.text, task.kind.highest) == (("query", "passage"), 2.0)


def test_images(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 8, 8, 3), np.uint8)
    columns = {"image": [Pillow.fromarray(each) for each in pixels], "label": CLASSES}
    name = lay_out(tmp_path / "set", "default", {"image": Image(), "label": YES}, columns)
    task = load_task(name, cache=tmp_path, kind="images")
    assert (task.text, task.class_names, task.kind.grey) == (("image",), ("no", "yes"), False)


def test_columns_that_cannot_be_told(tmp_path: Path) -> None:
    name = lay_out(tmp_path / "set", "copa", {"choice1": TEXT, "choice2": TEXT, "label": YES},
                   {"choice1": texts("a"), "choice2": texts("b"), "label": CLASSES})  # fmt: skip
    with pytest.raises(
        BadInput, match=r"Which column of .*set@copa is the text\? It has: choice1, choice2\."
    ):
        load_task(name, cache=tmp_path)
    with pytest.raises(BadInput, match=r"has no column 'choice'. Did you mean choice"):
        load_task(name, cache=tmp_path, text=("choice",))
    task = load_task(name, cache=tmp_path, text=("choice1", "choice2"))
    assert task.text == ("choice1", "choice2")
    assert (
        "set@copa: text is choice1 and choice2, label is label (of choice1, choice2, label)." in task.remarks
    )


def test_what_is_out_of_reach_has_the_names_that_it_always_had(tmp_path: Path) -> None:
    """Studies of rows that were fetched before columns were found are opened again without the hub."""
    usual = KINDS["classification"].usual
    source = HubSource("owner/name", None, ("train",), (), None, tmp_path)
    found = look_into_hub(source, text=(), label=None, labelled=True, usual=usual)
    assert (found.text, found.label, found.remarks) == (("text",), "label", ())
    assert not [*tmp_path.iterdir()]
