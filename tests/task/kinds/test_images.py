"""Images as a kind of task: classes, five most likely ones, equal images together, and rows that cannot be used."""

from __future__ import annotations

import io
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from PIL import Image
from sklearn.metrics import top_k_accuracy_score

from pipeline.study.records import BadInput
from pipeline.task.imagefiles import Digits, as_text, opened
from pipeline.task.images import ImageSplit
from pipeline.task.kinds import Images
from pipeline.task.loading import load_task, open_test, train_texts


def png(seed: int, *, grey: bool = False) -> bytes:
    values = np.random.default_rng(seed).integers(0, 256, (6, 5) if grey else (6, 5, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG")
    return file.getvalue()


def folder(root: Path, *, rows: int = 40, parts: tuple[str, ...] = ("",)) -> Path:
    for number, part in enumerate(parts):
        for row in range(rows):
            place = root / part / ("cats", "dogs")[row % 2]
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{row:03d}.png").write_bytes(
                png(1000 * number + row // 4 if row < 8 else 1000 * number + row)
            )
    return root


def test_a_folder_per_class_is_a_task(tmp_path: Path) -> None:
    task = load_task(str(folder(tmp_path / "pets")), cache=tmp_path / "cache")
    assert (task.name, task.kind) == ("pets", Images("accuracy", ("cats", "dogs"), grey=False))
    parts = {"train": task.train, "validation": task.validation, **open_test(task)}
    assert sum(part.num_rows for part in parts.values()) == 40
    for one, rows in parts.items():  # equal images are in one part
        for other, others in parts.items():
            same = {*rows["text_a"].to_pylist()} & {*others["text_a"].to_pylist()}
            assert one == other or not same
    assert "are kept aside to test on" in task.remarks[0]
    assert set(train_texts(task)) == {"6"}
    whole = load_task(str(folder(tmp_path / "all", parts=("train", "val", "test"))), cache=tmp_path / "cache")
    assert [whole.train.num_rows, whole.validation.num_rows, open_test(whole)["test"].num_rows] == [
        40,
        40,
        40,
    ]


def test_the_five_most_likely_classes() -> None:
    rng = np.random.default_rng(0)
    labels, logits = rng.integers(0, 8, 200), rng.normal(size=(200, 8))
    split = ImageSplit(pa.table({"id": [str(row) for row in range(200)], "label": labels}), 0)
    kind = Images("accuracy", tuple("abcdefgh"))
    found = kind.score(kind.judge(torch.from_numpy(logits).float(), split), split)
    assert found["top5"] == pytest.approx(top_k_accuracy_score(labels, logits, k=5, labels=range(8)))
    assert found["metric"] == pytest.approx(np.mean(logits.argmax(1) == labels))
    few = Images("accuracy", ("a", "b"))
    split = ImageSplit(pa.table({"id": ["x", "y"], "label": [0, 1]}), 0)
    assert "top5" not in few.score(few.judge(torch.eye(2), split), split)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "cats/zgrey.png",
            png(9, grey=True),
            r"image train-cats/zgrey.png is grey and image train-cats/000.png in colour",
        ),
        ("dogs/bad.png", b"not an image", r"image train-dogs/bad.png: it is no image that Pillow can read"),
        ("dogs/empty.png", b"", r"1 row has no text; the first is row dogs/empty.png"),
    ],
)
def test_bad_images_are_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    place = folder(tmp_path / "pets", parts=("train", "test"))
    (place / "train" / name).write_bytes(content)
    with pytest.raises(BadInput, match=message):
        load_task(str(place), cache=tmp_path / "cache")


def test_parts_have_the_same_colours(tmp_path: Path) -> None:
    place = folder(tmp_path / "pets", parts=("train", "test"))
    for file in (place / "test").rglob("*.png"):
        file.write_bytes(png(1, grey=True))
    task = load_task(str(place), cache=tmp_path / "cache")
    with pytest.raises(BadInput, match="its images are grey, those of train in colour"):
        open_test(task)


def test_digits_are_built_in(tmp_path: Path) -> None:
    task = load_task("builtin/digits", cache=tmp_path)
    assert task.kind == Images("accuracy", tuple("0123456789"), grey=True)
    assert [task.train.num_rows, task.validation.num_rows, open_test(task)["test"].num_rows] == [
        1150,
        288,
        359,
    ]


def test_digits_are_those_of_scikit_learn() -> None:
    from sklearn.datasets import load_digits

    rows, theirs = Digits().read("train"), load_digits()
    images = [np.asarray(opened(text)) for text in rows["text_a"].to_pylist()]
    np.testing.assert_array_equal(np.stack(images), np.rint(theirs.images * 255 / 16))
    assert rows["label"].to_pylist() == [str(digit) for digit in theirs.target]


def test_columns_of_images_are_found_and_read(tmp_path: Path) -> None:
    """A parquet file as the hub has it, a csv of names beside it, a task file, a data set's folder."""
    (tmp_path / "set").mkdir()
    for row in range(40):
        (tmp_path / f"{row}.png").write_bytes(png(row))
    images = [{"bytes": png(row), "path": None} for row in range(40)]
    labels = [("cat", "dog")[row % 2] for row in range(40)]
    pa.parquet.write_table(pa.table({"image": images, "label": labels}), tmp_path / "rows.parquet")
    lines = [f"{row}.png,{label}" for row, label in enumerate(labels)]
    (tmp_path / "rows.csv").write_text("\n".join(["file_name,label", *lines]))
    (tmp_path / "task.toml").write_text(
        'name = "pets"\nkind = "images"\ntext = ["image"]\nlabel = "label"\n[files]\ntrain = "rows.parquet"\n'
    )
    found = [
        load_task(str(tmp_path / name), cache=tmp_path / "cache", kind=kind)
        for name, kind in (("rows.parquet", "images"), ("rows.csv", "images"), ("task.toml", None))
    ]
    assert {task.kind for task in found} == {Images("accuracy", ("cat", "dog"))}
    texts = [{*task.train["text_a"].to_pylist()} for task in found]
    assert texts[0] == texts[1] == texts[2]
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])}
    )
    rows = {"image": images, "label": [row % 2 for row in range(40)]}
    datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "set" / "train.parquet")
    hub = load_task(f"hf:{tmp_path / 'set'}", cache=tmp_path / "cache", kind="images")
    assert hub.kind == Images("accuracy", ("cat", "dog"))
    assert hub.train.num_rows + hub.validation.num_rows == 40
    assert {*hub.train["text_a"].to_pylist()} <= {as_text(png(row)) for row in range(40)}
