"""Images as rows: where they lie, what they are, and what is wrong with them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from pipeline.study.records import BadInput
from pipeline.task import imagefiles
from pipeline.task.imagefiles import (
    Digits,
    ImageFolder,
    ImageTable,
    as_text,
    decoded,
    is_grey,
    is_image_folder,
    opened,
)
from pipeline.task.outline import outline_of
from pipeline.task.place import check_place


def png(colour: tuple[int, int, int] | int, *, mode: str = "RGB", size: tuple[int, int] = (5, 4)) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, colour).save(file, "PNG")
    return file.getvalue()


RED, BLUE = png((255, 0, 0)), png((0, 0, 255))


def test_a_folder_per_class(tmp_path: Path) -> None:
    for name, content in (
        ("cats/b.png", RED),
        ("cats/a.JPG", BLUE),
        ("dogs/c.png", RED),
        ("dogs/notes.txt", b"x"),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / ".cache").mkdir()
    assert is_image_folder(tmp_path)
    rows, told = ImageFolder(tmp_path).read_with_remarks("train")
    assert rows["id"].to_pylist() == ["train-cats/a.JPG", "train-cats/b.png", "train-dogs/c.png"]
    assert rows["label"].to_pylist() == ["cats", "cats", "dogs"]
    assert rows["text_a"].to_pylist() == [as_text(BLUE), as_text(RED), as_text(RED)]
    assert told == (f"1 files of {tmp_path.name} are no images and are left aside.",)
    assert decoded(as_text(RED), channels=3).getpixel((0, 0)) == (255, 0, 0)
    parts = tmp_path / "parts"
    (parts / "train").mkdir(parents=True)
    assert not is_image_folder(parts)
    (tmp_path / "cats").rename(parts / "train" / "cats")
    assert is_image_folder(parts)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no images"):
        ImageFolder(tmp_path / "empty").read("train")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"kind": "tokens"},
            "--kind is 'tokens', and .* is a folder of images per class, whose kind is images",
        ),
        ({"text": ("image",)}, "--text names columns, and .* it has none. Leave it out"),
        ({"text": ("image",), "label": "class"}, "--text and --label name columns, .* Leave them out"),
    ],
)
def test_what_does_not_go_with_a_folder_per_class(
    tmp_path: Path, given: dict[str, Any], message: str
) -> None:
    for name in ("cats", "dogs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(RED)
    whole = {"text": (), "label": None, "metric": None, "kind": None} | given
    with pytest.raises(BadInput, match=message):
        check_place(str(tmp_path), **whole)
    with pytest.raises(BadInput, match=message):
        outline_of(str(tmp_path), cache=tmp_path, **whole)
    check_place(str(tmp_path), text=(), label=None, metric=None, kind="images")


def test_columns_of_every_form_are_the_same_images(tmp_path: Path) -> None:
    (tmp_path / "red.png").write_bytes(RED)
    (tmp_path / "blue.png").write_bytes(BLUE)
    tables = {
        "bytes.parquet": [RED, BLUE],
        "hub.parquet": [{"bytes": RED, "path": None}, {"bytes": None, "path": "blue.png"}],
        "names.parquet": ["red.png", "blue.png"],
    }
    for name, values in tables.items():
        pa.parquet.write_table(pa.table({"image": values, "label": ["r", "b"]}), tmp_path / name)
    (tmp_path / "names.csv").write_text("image,label\nred.png,r\nblue.png,b\n")
    lines = [{"image": as_text(RED), "label": "r"}, {"image": "blue.png", "label": "b"}]
    (tmp_path / "mixed.jsonl").write_text("\n".join(map(json.dumps, lines)))
    for name in (*tables, "names.csv", "mixed.jsonl"):
        rows = ImageTable(tmp_path / name, ("image",), "label").read("train")
        assert rows["text_a"].to_pylist() == [as_text(RED), as_text(BLUE)], name
        assert rows["label"].to_pylist() == ["r", "b"]
        assert rows["id"].to_pylist() == ["train-1", "train-2"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("gone.png", "row 1: there is no image 'gone.png'"),
        ("../out.png", "row 1: images lie beside their file"),
    ],
)
def test_names_that_lead_nowhere_or_elsewhere(tmp_path: Path, value: str, message: str) -> None:
    (tmp_path / "out.png").write_bytes(RED)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "rows.csv").write_text(f"image,label\n{value},r\n")
    with pytest.raises(ValueError, match=message):
        ImageTable(tmp_path / "in" / "rows.csv", ("image",), "label").read("train")


def test_what_is_no_image(monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("no base64!", as_text(b"GIF89a but not quite"), as_text(b"")):
        with pytest.raises(ValueError, match="it is no image that Pillow can read"):
            opened(text)
    rng = np.random.default_rng(0)
    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(file, "PNG")
    whole = file.getvalue()
    with pytest.raises(ValueError, match="it is damaged"):
        decoded(as_text(whole[: len(whole) // 2]), channels=3)
    monkeypatch.setattr(imagefiles, "MOST_PIXELS", 1_000)
    with pytest.raises(ValueError, match="40 x 40 pixels, more than 1,000"):
        opened(as_text(whole))


@pytest.mark.parametrize(
    ("mode", "grey"), [("L", True), ("1", True), ("RGB", False), ("RGBA", False), ("P", False)]
)
def test_grey_images_have_no_colours(mode: str, grey: bool) -> None:
    colour = {"RGB": (9, 9, 9), "RGBA": (9, 9, 9, 255)}.get(mode, 1)
    assert is_grey(opened(as_text(png(colour, mode=mode)))) == grey


def test_the_digits_are_scikit_learn_s() -> None:
    rows = Digits().read("train")
    found = load_digits()
    assert rows.num_rows == 1797
    assert rows["label"].to_pylist() == [str(label) for label in found.target]
    pixels = np.array([np.asarray(decoded(text, channels=1)) for text in rows["text_a"].to_pylist()[:50]])
    np.testing.assert_array_equal(pixels, np.rint(found.images[:50] / 16 * 255))
