"""A task file that `init` writes is read as the same task as its rows."""

from __future__ import annotations

import csv
import json
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from pipeline.cli.app import run
from pipeline.study.records import BadInput
from pipeline.task.kinds import KINDS
from pipeline.task.loading import load_task
from pipeline.task.taskfile import read_taskfile
from pipeline.task.template import _labels, _quoted, write_taskfile
from tests.kit.kinds import write_rows

ROWS = [(f'word{i} of "row" {i}', ["pro", 'c"on'][i % 2]) for i in range(60)]


def written(folder: Path, *, head: tuple[str, str] = ("review", "topic")) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "my reviews.csv").open("w", newline="") as file:
        csv.writer(file).writerows([head, *ROWS])
    return folder / "my reviews.csv"


def test_it_is_the_task_of_its_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = written(tmp_path)
    assert run(["init", str(data), "--store", str(tmp_path / "store")]) == 0
    said = capsys.readouterr()
    file = tmp_path / "my reviews.toml"
    assert str(file) in said.out
    assert "2 classes" in said.out
    assert "text is review, label is topic" in said.err
    taken = read_taskfile(file)
    assert (taken.name, taken.text, taken.label) == ("my reviews", ["review"], "topic")
    assert taken.files.train == "my reviews.csv"
    ours, theirs = (load_task(str(path), cache=tmp_path / "cache") for path in (file, data))
    assert (ours.class_names, ours.metric, ours.max_length) == (theirs.class_names, theirs.metric, 128)
    text = file.read_text()
    assert "# without it a part of train is kept aside" in text.replace('"…"       ', "")
    assert run(["init", str(data), "--store", str(tmp_path / "store")]) == 2
    assert "is there already" in capsys.readouterr().err
    assert file.read_text() == text


@pytest.mark.parametrize(("rare", "metric", "said"), [(3, None, True), (3, "f1", False), (20, None, False)])
def test_a_class_that_accuracy_hardly_shows_is_remarked_on(
    rare: int, metric: str | None, said: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "our tickets.csv"
    labels = ["fraud"] * rare + ["billing", "login"] * 50
    data.write_text(
        "\n".join(["text,team", *(f"ticket number {i},{label}" for i, label in enumerate(labels))])
    )
    options = [] if metric is None else ["--metric", metric]
    assert run(["init", str(data), "--label", "team", *options, "--store", str(tmp_path / "s")]) == 0
    shown = capsys.readouterr()
    # a fifth of the rows is kept aside for the test: of 100 and 3, 2 or 3 are left of the class
    assert ("accuracy hardly shows whether it is predicted" in shown.err) == said, shown.err
    assert ("'fraud' is the label of" in shown.err) == said
    assert f"Next:  prunefront search --task '{tmp_path / 'our tickets.toml'}'" in shown.out
    assert "`prunefront search --task 'our tickets.toml'`" in (tmp_path / "our tickets.toml").read_text()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_task_has_a_file(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_rows(tmp_path / "rows", kind)
    file = tmp_path / "task.toml"
    assert run(["init", str(data), "--kind", kind, "--to", str(file), "--store", str(tmp_path / "s")]) == 0
    assert "rows" in capsys.readouterr().out
    ours = load_task(str(file), cache=tmp_path / "cache")
    theirs = load_task(str(data), cache=tmp_path / "cache", kind=kind)
    assert (ours.kind.name, ours.metric, ours.class_names) == (kind, theirs.metric, theirs.class_names)
    assert (ours.fingerprint, ours.max_length) == (theirs.fingerprint, theirs.max_length)
    assert read_taskfile(file).files.test == "rows/test.jsonl"


def test_columns_of_zeros_and_ones_are_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "posts.csv"
    lines = [f"post number {i},{i % 2},{i % 3 == 0:d},{int(i % 5 == 0)}" for i in range(60)]
    data.write_text("\n".join(["text,funny,rude,old", *lines]))
    asked = ["init", str(data), "--label", "funny", "--label", "rude", "--store", str(tmp_path / "s")]
    assert run(asked) == 0
    said = capsys.readouterr()
    assert "2 classes: funny, rude" in said.out
    assert "label is funny and rude" in said.err
    taken = read_taskfile(tmp_path / "posts.toml")
    assert (taken.kind, taken.text, taken.label) == ("multi-label", ["text"], ["funny", "rude"])
    task = load_task(str(tmp_path / "posts.toml"), cache=tmp_path / "cache")
    by_id = {
        int(row["id"].rpartition("-")[2]): row["label"]
        for part in (task.train, task.validation)
        for row in part.to_pylist()
    }
    assert len(by_id) > 30
    assert all(labels == [(row - 1) % 2, (row - 1) % 3 == 0] for row, labels in by_id.items())
    data.with_suffix(".toml").unlink()
    assert run([*asked[:-2], "--label", "od"]) == 2
    assert "Did you mean old?" in capsys.readouterr().err


@pytest.mark.parametrize("below", ["", "train"])
def test_a_folder_of_images_has_a_file(
    below: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(40):
        file = tmp_path / "pets" / below / ("cats", "dogs")[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 5), (6 * number, 255 * (number % 2), 0)).save(file)
    assert run(["init", str(tmp_path / "pets"), "--store", str(tmp_path / "s")]) == 0
    assert "2 classes: cats, dogs" in capsys.readouterr().out
    file = tmp_path / "pets.toml"
    taken = read_taskfile(file)
    assert (taken.kind, taken.metric) == ("images", "accuracy")
    assert taken.files.train == ("pets/train" if below else "pets")
    ours, theirs = (load_task(str(path), cache=tmp_path / "cache") for path in (file, tmp_path / "pets"))
    assert (ours.fingerprint, ours.class_names) == (theirs.fingerprint, ("cats", "dogs"))


def test_an_unknown_kind_gets_the_nearest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["init", str(written(tmp_path)), "--kind", "rankin"]) == 2
    assert "Did you mean ranking?" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.toml"))


def test_a_file_elsewhere_names_the_rows_from_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = written(tmp_path / "rows")
    to = tmp_path / "tasks" / "task.toml"
    to.parent.mkdir()
    assert run(["init", str(data), "--to", str(to), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["file"], said["classes"]) == (str(to), ['c"on', "pro"])
    assert read_taskfile(to).files.train == "../rows/my reviews.csv"
    assert load_task(str(to), cache=tmp_path / "cache").class_names == ('c"on', "pro")


def test_what_cannot_be_learned_is_said_and_nothing_is_written(tmp_path: Path) -> None:
    data = written(tmp_path, head=("stuff", "things"))
    with pytest.raises(BadInput, match=r"Which column of .* is the label"):
        write_taskfile(data, text=(), label=None, metric="accuracy", to=None, cache=tmp_path / "cache")
    assert not data.with_suffix(".toml").exists()
    with pytest.raises(BadInput, match="is no file of rows"):
        write_taskfile(tmp_path / "a.txt", text=(), label=None, metric="accuracy", to=None, cache=tmp_path)


@pytest.mark.parametrize("name", ["a\rb", "\U000e0001tag", "\u200btext", 'quo"te\\'])
def test_any_name_is_a_string_of_toml(name: str) -> None:
    assert tomllib.loads(f"name = {_quoted(name)}") == {"name": name}


def test_classes_stand_in_a_comment_of_one_line() -> None:
    """TOML refuses control characters in comments."""
    task: Any = SimpleNamespace(
        class_names=("a\rb", "c\x00d", "e\nf"), kind=SimpleNamespace(name="classification")
    )
    line = f"label = 1 # {_labels(task)}"
    assert tomllib.loads(line) == {"label": 1}
    assert line == "label = 1 # 3 classes: a b, c d, e f"
