"""Tasks from names and files: what comes out, what is refused, and that test rows stay unopened."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Features, Value

from pipeline.study.records import BadInput
from pipeline.task import outline
from pipeline.task.carve import text_key
from pipeline.task.glue import GLUE
from pipeline.task.loading import load_task, look_at_test, open_test, tokenise, tokenise_test, train_texts
from tests.kit.tasks import load, make_tokenizer, sentences, write_task

# ---- what comes out


def test_a_file_task(tmp_path: Path) -> None:
    task = load(write_task(tmp_path, sentences(100), more="max_length = 7"))
    assert (task.name, task.metric, len(task.kind.output_names), task.max_length) == ("toy", "accuracy", 3, 7)
    assert (task.class_names, task.kind.name, task.text) == (("0", "1", "2"), "classification", ("a",))
    assert (task.train.num_rows, task.validation.num_rows) == (80, 20)
    for part in (task.train, task.validation):
        assert part.schema == pa.schema({"id": pa.string(), "text_a": pa.string(), "label": pa.int64()})
        for row in part.to_pylist():  # ids say which row of the file this is
            number = int(row["id"].removeprefix("train-")) - 1
            assert (row["text_a"], row["label"]) == (f"sentence number {number}", number % 3)
    ids = [*task.train["id"].to_pylist(), *task.validation["id"].to_pylist()]
    assert sorted(ids) == sorted(f"train-{number}" for number in range(1, 101))
    assert train_texts(task) == task.train["text_a"].to_pylist()


def test_validation_has_each_class_in_proportion(tmp_path: Path) -> None:
    rows = [(f"sentence {row}", "rare" if row % 10 == 0 else "common") for row in range(500)]
    task = load(write_task(tmp_path, rows))
    assert task.class_names == ("common", "rare")
    assert np.bincount(task.validation["label"].to_numpy()).tolist() == [90, 10]


def test_pairs_in_two_columns(tmp_path: Path) -> None:
    task = load(write_task(tmp_path, [(f"left {row}", f"right {row}", str(row % 2)) for row in range(20)]))
    assert task.text == ("a", "b")
    assert task.train.column_names == ["id", "text_a", "text_b", "label"]
    assert len(train_texts(task)) == 2 * task.train.num_rows


def test_a_regression(tmp_path: Path) -> None:
    rows = [(f"sentence {row}", f"{row / 4}") for row in range(100)]
    task = load(write_task(tmp_path, rows, metric="pearson_spearman", more="regression = true"))
    assert (task.kind.output_names, task.kind.name, task.class_names) == (("value",), "regression", ())
    assert task.train.schema.field("label").type == pa.float32()
    tenths = np.sort(task.validation["label"].to_numpy()) // 2.5
    assert np.bincount(tenths.astype(int)).tolist() == [2] * 10


def test_duplicates_stand_on_one_side(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    texts = [f"Sentence {number}" for number in generator.integers(0, 60, 400)]
    rows = [(text.upper() if row % 2 else text, str(row % 2)) for row, text in enumerate(texts)]
    task = load(write_task(tmp_path, rows))
    sides = [
        {text_key(text) for text in part["text_a"].to_pylist()} for part in (task.train, task.validation)
    ]
    assert sides[0]
    assert sides[1]
    assert not sides[0] & sides[1]


def test_a_validation_file_that_is_the_train_file_is_refused(tmp_path: Path) -> None:
    path = write_task(tmp_path, sentences(30), files='validation = "dev.tsv"')
    rows = (tmp_path / "train.tsv").read_text().splitlines()
    (tmp_path / "dev.tsv").write_text(
        "\n".join([rows[0], *(row.upper() for row in reversed(rows[1:]))]) + "\n"
    )
    with pytest.raises(BadInput, match=r"dev\.tsv.*: all 30 rows are train rows, too"):
        load(path)
    with (tmp_path / "dev.tsv").open("a") as file:
        file.write(f"a row of its own\t{rows[1].rpartition(chr(9))[2]}\n")
    assert load(path).validation.num_rows == 31


def test_a_validation_file_is_taken_whole(tmp_path: Path) -> None:
    path = write_task(tmp_path, sentences(30), files='validation = "dev.tsv"')
    (tmp_path / "dev.tsv").write_text("label\ta\n2\tnew one\n0\tanother\n")
    task = load(path)
    assert task.train.num_rows == 30
    assert task.validation.to_pylist() == [
        {"id": "validation-1", "text_a": "new one", "label": 2},
        {"id": "validation-2", "text_a": "another", "label": 0},
    ]


def test_the_fingerprint_is_of_what_a_search_sees(tmp_path: Path) -> None:
    first = load(write_task(tmp_path, sentences(30))).fingerprint
    assert load(write_task(tmp_path, sentences(30), test=sentences(3))).fingerprint == first
    changed = [("another sentence", "0"), *sentences(30)[1:]]
    others = [
        load(write_task(tmp_path, changed)),
        load(write_task(tmp_path, [("sentence number 0", "1"), *sentences(30)[1:]])),
        load(write_task(tmp_path, sentences(30), metric="f1")),
        load(write_task(tmp_path, sentences(30), more="max_length = 9")),
    ]
    assert len({first, *(task.fingerprint for task in others)}) == 5
    assert len(first) == 64


def test_tokenised(tmp_path: Path) -> None:
    task = load(write_task(tmp_path, sentences(2000), more="max_length = 2"))
    data = tokenise(task, make_tokenizer())
    assert (len(data.train), len(data.calibration), len(data.validation), data.test) == (1600, 512, 400, None)
    assert data.train.ids == task.train["id"].to_pylist()
    assert set(data.calibration.ids) < set(data.train.ids)
    assert np.bincount(data.calibration.labels).tolist() in (
        [171, 171, 170],
        [171, 170, 171],
        [170, 171, 171],
    )
    assert data.train.lengths.max() == 2  # cut to max_length
    assert data.validation.collate(np.array([0]))["input_ids"][0, :2].tolist() == [2, 3]
    assert tokenise(task, make_tokenizer()).calibration.ids == data.calibration.ids


def test_a_tokenizer_without_padding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs a padding token"):
        tokenise(load(write_task(tmp_path, sentences(30))), make_tokenizer(pad=None))


# ---- what is said of rows


def test_rows_of_two_parts_are_counted_and_said(tmp_path: Path) -> None:
    path = write_task(tmp_path, sentences(30), files='validation = "dev.tsv"')
    dev = [
        "a\tlabel",
        "SENTENCE  number 4\t1",
        "sentence number 5\t0",
        "other\t2",
    ]  # 4 is of class 1, 5 is of class 2
    (tmp_path / "dev.tsv").write_text("\n".join(dev) + "\n")
    test = ["a\tlabel", "sentence number 6\t0", "Other\t2", "new\t1", "newer\t1"]
    (tmp_path / "test.tsv").write_text("\n".join(test) + "\n")
    task = load(path)
    assert task.shared == {"validation+train": 1}
    assert task.remarks == (
        "1 of the 3 validation rows is also a train row (text and label): scores on them are too good.",
    )
    found = look_at_test(task)
    assert found.shared == {"test+train": 1, "test+validation": 1}
    assert found.remarks == (
        "1 of the 4 test rows is also a train row (text and label): scores on them are too good.",
        "1 of the 4 test rows is also a validation row (text and label): scores on them are too good.",
    )
    assert found.parts["test"].num_rows == 0, "a search is told about test rows, and sees none"


def test_a_test_file_that_is_the_train_file_is_said(tmp_path: Path) -> None:
    found = look_at_test(load(write_task(tmp_path, sentences(30))))
    assert found.shared == {"test+train": 24, "test+validation": 6}


def test_validation_rows_of_one_class_are_refused(tmp_path: Path) -> None:
    path = write_task(tmp_path, sentences(30), files='validation = "dev.tsv"')
    (tmp_path / "dev.tsv").write_text("a\tlabel\nb\t1\nc\t1.0\n")
    with pytest.raises(BadInput, match=r"dev\.tsv: its 2 validation rows have one and the same label"):
        load(path)
    with pytest.raises(BadInput, match="its 1 validation row has one and the same label"):
        load(write_task(tmp_path, [("a", "0"), ("b", "1"), ("c", "0"), ("d", "1")]))


def test_validation_rows_of_one_value_are_refused(tmp_path: Path) -> None:
    rows = [(f"text {row}", str(row / 10)) for row in range(30)]
    path = write_task(tmp_path, rows, metric="pearson_spearman", files='validation = "dev.tsv"')
    (tmp_path / "dev.tsv").write_text("a\tlabel\nb\t0.5\nc\t.50\n")
    with pytest.raises(BadInput, match="its 2 validation rows have one and the same label"):
        load(path)


def test_a_class_that_validation_has_not_is_said(tmp_path: Path) -> None:
    path = write_task(tmp_path, sentences(30), files='validation = "dev.tsv"')
    (tmp_path / "dev.tsv").write_text("a\tlabel\nb\t1\nc\t0\n")
    assert load(path).remarks == ("No validation row has the class '2'.",)


def test_classes_that_differ_in_case_alone_are_said(tmp_path: Path) -> None:
    rows = [(f"text {row}", ("Yes", "yes", "no")[row % 3]) for row in range(30)]
    assert load(write_task(tmp_path, rows)).remarks == (
        "'Yes' and 'yes' differ in case or white space alone; they are 2 classes.",
    )


def test_the_positive_class_is_the_one_whose_f1_is_meant(tmp_path: Path) -> None:
    rows = [(f"text {row}", ("ham", "spam")[row % 2]) for row in range(30)]
    task = load(write_task(tmp_path, rows, metric="f1"))
    assert (task.class_names, task.remarks) == (("ham", "spam"), ("F1 is that of the class 'spam'.",))
    other = load(write_task(tmp_path, rows, metric="f1", more='positive = "ham"'))
    assert (other.class_names, other.remarks) == (("spam", "ham"), ("F1 is that of the class 'ham'.",))
    assert other.fingerprint != task.fingerprint
    for metric, name in (("f1", "eggs"), ("accuracy", "ham")):
        with pytest.raises(BadInput, match="names the one of two classes whose F1 is meant"):
            load(write_task(tmp_path, rows, metric=metric, more=f'positive = "{name}"'))


def test_without_a_test_file_a_part_of_train_is_kept_aside(tmp_path: Path) -> None:
    path = write_task(tmp_path, sentences(60))
    path.write_text(path.read_text().replace('test = "test.tsv"', ""))
    task = load(path)
    said = "The task has no test file: 12 of the 60 rows of train.tsv are kept aside to test on."
    assert task.remarks == (said,)
    test = open_test(task)["test"]
    assert np.bincount(test["label"].to_numpy()).tolist() == [4, 4, 4]
    parts = [{*part["text_a"].to_pylist()} for part in (task.train, task.validation, test)]
    assert [len(part) for part in parts] == [38, 10, 12]
    assert set.union(*parts) == {text for text, _ in sentences(60)}
    assert look_at_test(task).remarks == ()
    # the same rows, whatever their order in the file
    lines = (tmp_path / "train.tsv").read_text().splitlines()
    (tmp_path / "train.tsv").write_text("\n".join([lines[0], *reversed(lines[1:])]) + "\n")
    assert {*open_test(load(path))["test"]["text_a"].to_pylist()} == parts[2]


def test_a_tokenizer_s_own_limit_and_cut_rows_are_told(tmp_path: Path) -> None:
    task = load(write_task(tmp_path, [(f"{row} {'number ' * (row % 4)}", str(row % 2)) for row in range(40)]))
    tokens = make_tokenizer()
    whole = tokenise(task, tokens)
    assert (whole.train.cut, whole.validation.cut, whole.train.limit) == (0, 0, 128)
    tokens.model_max_length = 3  # rows have 1 to 4 tokens
    data = tokenise(task, tokens)
    assert data.train.cut + data.validation.cut == 10
    assert (data.train.limit, data.train.lengths.max()) == (3, 3)


# ---- test rows


def test_test_rows_without_labels_are_left_out_and_said(tmp_path: Path) -> None:
    rows = [("sentence a", "2"), ("sentence b", "-1"), ("sentence c", ""), ("sentence d", "0")]
    task = load(write_task(tmp_path, sentences(30), test=rows))
    assert open_test(task)["test"]["id"].to_pylist() == ["test-1", "test-4"]
    assert look_at_test(task).remarks == ("2 of the 4 test rows have no label and are left out.",)
    hidden = load(write_task(tmp_path, sentences(30), test=[("a", "-1"), ("b", "-1")]))
    assert open_test(hidden) == {}
    assert look_at_test(hidden).remarks == (
        "No test row has a label: there is no score on test rows, and nothing can be confirmed.",
    )


def test_test_rows_that_cannot_be_used_are_said_before_a_search(tmp_path: Path) -> None:
    (said,) = look_at_test(load(write_task(tmp_path, sentences(30), test=[("sentence", "9")]))).remarks
    assert said.startswith("An export and a confirmation will be refused, as things are. /")
    assert "1 row has a class that train has not" in said


def test_test_rows_on_request(tmp_path: Path) -> None:
    task = load(write_task(tmp_path, sentences(30), test=[("sentence number 7", "2"), ("sentence", "0")]))
    opened = open_test(task)
    assert opened["test"].to_pydict() == {
        "id": ["test-1", "test-2"], "text_a": ["sentence number 7", "sentence"], "label": [2, 0]
    }  # fmt: skip
    assert tokenise_test(task, make_tokenizer())["test"].lengths.tolist() == [3, 1]


def test_classes_that_train_has_not(tmp_path: Path) -> None:
    task = load(write_task(tmp_path, sentences(30), test=[("sentence", "9")]))
    with pytest.raises(BadInput, match=r"test.tsv: 1 row has a class that train has not \(0, 1, 2\)"):
        open_test(task)


def test_a_search_never_opens_the_test_file(tmp_path: Path) -> None:
    """The test file is a pipe: to open it would wait for ever, in Python or in Arrow's C++.

    In a process of its own, whose audit hook (it cannot be removed) also writes down what Python opens.
    """
    path = write_task(tmp_path, sentences(60))
    (tmp_path / "test.tsv").unlink()
    os.mkfifo(tmp_path / "test.tsv")
    code = (
        "import sys; opened = []\n"
        "sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == 'open' else None)\n"
        "from pathlib import Path\n"
        "from tests.kit.tasks import load, make_tokenizer; from pipeline.task.loading import tokenise, train_texts\n"
        f"task = load(Path({str(path)!r})); data = tokenise(task, make_tokenizer()); train_texts(task)\n"
        "print([Path(name).name for name in opened if name.endswith('.tsv')], len(data.validation))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert ran.stdout == "['train.tsv'] 12\n", ran.stderr


def test_unreadable_test_rows_do_not_stop_a_search(tmp_path: Path) -> None:
    path = write_task(tmp_path, sentences(60))
    (tmp_path / "test.tsv").write_bytes(b"\xff no columns here")
    task = load(path)
    tokenise(task, make_tokenizer())
    with pytest.raises(BadInput, match=r"test\.tsv"):  # the same file is refused once it is opened
        open_test(task)


# ---- GLUE and the hub


def lay_out_glue(folder: Path, name: str) -> None:
    """One task of GLUE as the hub has it, with 40 train rows; whatever is not train cannot be read."""
    task = GLUE[name]
    regression = task.metric == "pearson_spearman"
    classes = 3 if name == "mnli" else 2
    label = Value("float32") if regression else ClassLabel(names=["z", "y", "x"][:classes])
    features = Features(
        {**{column: Value("string") for column in task.text}, "label": label, "idx": Value("int32")}
    )
    columns = {column: [f"{column} {row}" for row in range(40)] for column in task.text}
    columns["label"] = [row / 8 if regression else row % classes for row in range(40)]
    columns["idx"] = list(range(1000, 1040))
    schema = features.arrow_schema
    table = pa.table(columns).cast(schema).replace_schema_metadata(schema.metadata)
    splits = ["train", "test", *(split for _, split in task.test)]
    lines = ["---", "configs:", f"- config_name: {name}", "  data_files:"]
    (folder / name).mkdir(parents=True)
    for split in splits:
        lines += [f"  - split: {split}", f"    path: {name}/{split}-*"]
        (folder / name / f"{split}-00000-of-00001.parquet").write_bytes(b"nobody may open this")
    pq.write_table(table, folder / name / "train-00000-of-00001.parquet")
    (folder / "README.md").write_text("\n".join([*lines, "---", ""]))


METRIC = dict.fromkeys(GLUE, "accuracy") | {
    "cola": "matthews", "stsb": "pearson_spearman", "mrpc": "accuracy_f1", "qqp": "accuracy_f1",
}  # fmt: skip


@pytest.mark.parametrize("name", ["cola", "sst2", "mrpc", "qqp", "stsb", "mnli", "qnli", "rte", "wnli"])
def test_glue(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real `datasets` code; only the repository's name is a folder's."""
    monkeypatch.setattr(outline, "REPOSITORY", str(tmp_path))
    lay_out_glue(tmp_path, name)
    task = load_task(f"glue/{name}", cache=tmp_path / "cache")
    assert (task.name, task.metric, task.max_length) == (f"glue/{name}", METRIC[name], 128)
    assert (task.train.num_rows, task.validation.num_rows) == (32, 8)
    assert set(task.train["id"].to_pylist()) < {f"train-{idx}" for idx in range(1000, 1040)}
    row = task.validation.to_pylist()[0]
    number = int(row["id"].removeprefix("train-")) - 1000
    assert [row[key] for key in row if key.startswith("text")] == [
        f"{column} {number}" for column in task.text
    ]
    if name == "stsb":
        assert (len(task.kind.output_names), task.class_names, row["label"]) == (1, (), number / 8)
    else:  # the hub's own order of classes
        classes = 3 if name == "mnli" else 2
        assert (len(task.kind.output_names), task.class_names, row["label"]) == (
            classes,
            ("z", "y", "x")[:classes],
            number % classes,
        )
    with pytest.raises(BadInput, match="validation"):
        open_test(task)


def test_mnli_has_two_test_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outline, "REPOSITORY", str(tmp_path))
    lay_out_glue(tmp_path, "mnli")
    folder = tmp_path / "mnli"
    train = pq.read_table(folder / "train-00000-of-00001.parquet")
    for split, rows in (("matched", 3), ("mismatched", 5)):
        pq.write_table(train.slice(0, rows), folder / f"validation_{split}-00000-of-00001.parquet")
    opened = open_test(load_task("glue/mnli", cache=tmp_path))
    assert {part: rows.num_rows for part, rows in opened.items()} == {"test": 3, "test_mismatched": 5}
    assert opened["test_mismatched"]["id"][0].as_py() == "test_mismatched-1000"


def test_any_hub_data_set(tmp_path: Path) -> None:
    lay_out_glue(tmp_path, "mrpc")
    task = load_task(f"hf:{tmp_path}@mrpc", cache=tmp_path, text=("sentence2", "sentence1"), metric="f1")
    assert (task.name, task.metric, task.class_names) == (f"hf:{tmp_path}@mrpc", "f1", ("z", "y"))
    assert task.train["text_a"][0].as_py().startswith("sentence2 ")
    assert task.train["text_b"][0].as_py().startswith("sentence1 ")


def test_a_folder_of_plain_files_is_a_hub_data_set_too(tmp_path: Path) -> None:
    lines = [json.dumps({"text": f"sentence {row}", "label": row % 2}) for row in range(20)]
    (tmp_path / "train.jsonl").write_text("\n".join(lines))
    task = load_task(f"hf:{tmp_path}", cache=tmp_path)
    assert (task.class_names, task.train.num_rows, task.validation.num_rows) == (("0", "1"), 16, 4)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("hf:", {}, "hf:NAME or hf:NAME@CONFIG"),
        ("hf:owner/name", {}, r"Couldn't reach 'owner/name' on the Hub .* network; or download its files"),
        ("glue/sst2", {}, "Couldn't reach 'nyu-mll/glue'"),
        ("hf:owner/name", {"metric": "auc"}, "has the metric 'auc'. It is one of accuracy, f1, "),
        ("hf:owner/name", {"text": ("a", "b", "c")}, "Given are a, b, c, label. A row has one or two text columns"),
        ("hf:owner/name", {"text": ("label",)}, "one or two text columns and a label"),
        ("glue/sst2", {"text": ("a",)}, "describe a file of rows or a hub data set"),
        ("builtin/docstrings", {"metric": "f1"}, "describe a file of rows or a hub data set"),
        ("glue/sst", {}, r"There is no task 'glue/sst'. Did you mean glue/sst2\? .*glue/wnli, hf:NAME"),
        ("glue/ax", {}, "glue/ax is .*: it has no train rows, and its labels are not public. Use glue/mnli"),
        ("sst2", {}, "no task 'sst2'. Did you mean glue/sst2"),
        ("", {}, "no task ''"),
        ("nowhere.toml", {}, "nowhere.toml cannot be read: No such file"),
    ],
)  # fmt: skip
def test_names_that_are_no_task(name: str, options: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=message):
        load_task(name, cache=tmp_path, **options)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


# ---- files that cannot be used


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (
            sentences(30),
            {"metric": "auc"},
            "toy has the metric 'auc'. It is one of accuracy, f1, accuracy_f1, ",
        ),
        (sentences(30), {"more": "regression = true"}, "metric is 'accuracy' and regression is true"),
        (sentences(30), {"more": 'txet = "x"'}, "unknown key 'txet', known there are name, metric"),
        (sentences(30), {"more": "max_length = 0"}, "max_length = 0"),
        (sentences(30), {"more": "max_length ="}, r"task.toml is no task file: Invalid value \(at line 5"),
        (sentences(30), {"files": 'validation = "dev.tsv"'}, "names 'dev.tsv', and there is no .*dev.tsv"),
        ([("a", "x"), ("b", "x")], {}, "all rows have the label 'x'"),
        ([("a", "1"), ("b", "")], {}, "1 row has no label; the first is row 2"),
        ([("a", "1"), ("a", "0"), ("a", "1"), ("a", "0")], {}, "4 rows are too few, or too alike"),
        ([("a", "1"), ("b", "x")], {"metric": "pearson_spearman"}, "no number; the first is row 2 with 'x'"),
        ([("a", "1"), ("b", "1")], {"metric": "pearson_spearman"}, "one and the same label"),
    ],
)
def test_bad_files(
    rows: list[tuple[str, ...]], options: dict[str, str], message: str, tmp_path: Path
) -> None:
    path = write_task(tmp_path, rows, **options)  # type: ignore[arg-type]
    before = sorted(tmp_path.iterdir())
    with pytest.raises(BadInput, match=message):
        load(path)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("file", ["train.tsv", "test.tsv"])
def test_a_missing_file(file: str, tmp_path: Path) -> None:
    path = write_task(tmp_path, sentences(30))
    (tmp_path / file).unlink()
    with pytest.raises(BadInput, match=f"names '{file}', and there is no .*{file}"):
        load(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "train.tsv: Empty CSV file"),
        ("a\tlabel\n", "train.tsv: it has no rows"),
        ("text\tlabel\nx\t1\n", "no column 'a'; its columns are 'text', 'label'"),
    ],
)
def test_train_files_that_cannot_be_used(content: str, message: str, tmp_path: Path) -> None:
    path = write_task(tmp_path, sentences(30))
    (tmp_path / "train.tsv").write_text(content)
    with pytest.raises(BadInput, match=message):
        load(path)


def test_a_delimiter_is_for_csv_and_tsv(tmp_path: Path) -> None:
    path = write_task(tmp_path, sentences(30), more='delimiter = ";"')
    path.write_text(path.read_text().replace("train.tsv", "train.jsonl"))
    (tmp_path / "train.jsonl").touch()
    with pytest.raises(BadInput, match="Only csv and tsv have a delimiter"):
        load(path)


def test_a_validation_class_that_train_has_not(tmp_path: Path) -> None:
    path = write_task(tmp_path, sentences(30), files='validation = "dev.tsv"')
    (tmp_path / "dev.tsv").write_text("a\tlabel\nx\t0\ny\t7\n")
    with pytest.raises(BadInput, match=r"dev.tsv: 1 row has a class that train has not .* row 2 with '7'"):
        load(path)


def parquet_part(path: Path, names: list[str], labels: list[int]) -> None:
    texts = [f"{path.stem} {row}" for row in range(len(labels))]
    features = {"a": {"dtype": "string", "_type": "Value"}, "label": {"names": names, "_type": "ClassLabel"}}
    noted = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    pq.write_table(pa.table({"a": texts, "label": labels}).replace_schema_metadata(noted), path)


def test_classes_of_parquet_files_are_matched_by_their_declared_names(tmp_path: Path) -> None:
    """Two files may number them differently: as numbers, every test label would be the wrong class."""
    task = write_task(tmp_path, sentences(4), metric="f1")
    task.write_text(task.read_text().replace(".tsv", ".parquet"))
    parquet_part(tmp_path / "train.parquet", ["same", "differs"], [0, 1] * 20)
    parquet_part(tmp_path / "test.parquet", ["differs", "same"], [0, 0, 1])
    found = load(task)
    assert found.class_names == ("same", "differs")  # as declared: F1 is that of "differs"
    first = found.train.to_pylist()[0]
    assert first["label"] == (int(first["text_a"].split()[1]) % 2)
    assert open_test(found)["test"]["label"].to_pylist() == [1, 1, 0]
