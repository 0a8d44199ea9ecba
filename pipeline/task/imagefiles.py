"""Images as rows: files in a folder per class, a column of a file, scikit-learn's digits.

A row holds its image as a text: the file's bytes in base64, as JSON and parquet exports have it. So rows of images are
carved, compared and distinguished as rows of text are.
"""

from __future__ import annotations

import base64
import binascii
import io
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from pipeline.task.readers import content_of, kind_of, read_columns
from pipeline.task.spelling import as_strings

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
VALIDATION, TEST = ("validation", "valid", "val", "dev"), ("test",)
GREY = ("1", "L", "LA", "I", "I;16", "F")  # modes of Pillow
MOST_PIXELS = 50_000_000  # of an image; Pillow warns of more than 90 million, which unpack from a small file
DIGITS_LEVELS = 16  # of grey in scikit-learn's digits


def as_text(content: bytes) -> str:
    """Return an image file's bytes as a row holds them."""
    return base64.b64encode(content).decode("ascii")


def opened(text: str) -> Image:
    """Return the image of a row; its pixels are not yet read.

    Raises:
        ValueError: it is none, or has too many pixels.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(base64.b64decode(text, validate=True)))
    except (binascii.Error, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"it is no image that Pillow can read ({error})") from error
    if image.width * image.height > MOST_PIXELS:
        raise ValueError(f"it has {image.width} x {image.height} pixels, more than {MOST_PIXELS:,}")
    return image


def decoded(text: str, *, channels: int) -> Image:
    """Return the image of a row with one channel (grey) or three (as `transformers.pipeline` reads images).

    Raises:
        ValueError: it cannot be decoded.
    """
    image = opened(text)
    try:
        return image.convert("RGB" if channels == 3 else "L")
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"it is damaged ({error})") from error


def is_grey(image: Image) -> bool:
    """Return whether an image has no colours."""
    return image.mode in GREY


@dataclass(frozen=True)
class ImageFolder:
    """Images in a folder per class. Ids have the class and the file's name."""

    path: Path

    text: ClassVar[tuple[str, ...]] = ("image",)
    way_out: ClassVar[str] = "Correct the folder."
    is_here: ClassVar[bool] = True

    def __str__(self) -> str:
        return str(self.path)

    def read(self, part: str) -> pa.Table:
        """Read all images, class by class.

        Raises:
            OSError, ValueError: a file cannot be read, or there is none.
        """
        return self.read_with_remarks(part)[0]

    def read_with_remarks(self, part: str) -> tuple[pa.Table, tuple[str, ...]]:
        """Read all images, and say what was left aside."""
        ids, images, labels, others = [], [], [], 0
        for folder in class_folders(self.path):
            for file in sorted(each for each in folder.iterdir() if each.is_file()):
                if file.suffix.lower() not in SUFFIXES:
                    others += 1
                    continue
                ids.append(f"{part}-{folder.name}/{file.name}")
                images.append(as_text(file.read_bytes()))
                labels.append(folder.name)
        if not ids:
            raise ValueError(f"it has no images ({', '.join(SUFFIXES)}) in folders of classes")
        remarks = (f"{others} files of {self.path.name} are no images and are left aside.",) if others else ()
        return _table(ids, images, pa.array(labels)), remarks


@dataclass(frozen=True)
class ImageTable:
    """A file of rows with a column of images: bytes, or names of files beside it; and one of labels."""

    path: Path
    text: tuple[str, ...]
    label: str | tuple[str, ...] | None

    way_out: ClassVar[str] = "Correct the file, or the task file."

    def __str__(self) -> str:
        return str(self.path)

    @property
    def is_here(self) -> bool:
        """Whether it is a file that can be read twice."""
        return self.path.is_file()

    def read(self, part: str) -> pa.Table:
        """Read the rows, each with its image.

        Raises:
            OSError, ValueError, pyarrow.ArrowException: as `readers.read_columns`, or an image is not there.
        """
        return self.read_with_remarks(part)[0]

    def read_with_remarks(self, part: str) -> tuple[pa.Table, tuple[str, ...]]:
        """Read the rows, and return remarks on how they were read."""
        if not isinstance(self.label, str) or len(self.text) != 1:
            raise ValueError("a row of images has one image and one label")
        table, remarks = read_columns(self.path, (self.label,), None)
        ids = [f"{part}-{number}" for number in range(1, table.num_rows + 1)]
        if kind_of(self.path) == ".parquet":
            column = pa.parquet.read_table(pa.BufferReader(content_of(self.path)), columns=list(self.text))
            values = column[self.text[0]]
        else:
            values = read_columns(self.path, self.text, None)[0][self.text[0]]
        return _table(ids, texts_of(values, self.path.parent), table[self.label]), remarks


def texts_of(column: pa.ChunkedArray, beside: Path) -> list[str | None]:
    """Return a column of images as rows hold them: bytes, {bytes, path} as the hub has it, names of files, base64.

    Args:
        column: of a file or a data set.
        beside: the folder that names of files are relative to.

    Raises:
        ValueError, OSError: an image is not there.
    """
    return [_text(value, beside, row) for row, value in enumerate(column.to_pylist(), start=1)]


def _text(value: Any, beside: Path, row: int) -> str | None:
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if value is None or isinstance(value, bytes):
        return None if value is None else as_text(value)
    if not isinstance(value, str):
        raise ValueError(f"row {row}: an image is bytes or a file's name, this is a {type(value).__name__}")
    if Path(value).suffix.lower() not in SUFFIXES:
        return value
    file = beside / value
    if not file.resolve().is_relative_to(beside.resolve()):
        raise ValueError(f"row {row}: images lie beside their file; {value!r} leads elsewhere")
    if not file.is_file():
        raise ValueError(f"row {row}: there is no image {value!r} beside it")
    return as_text(file.read_bytes())


def digits_file() -> Path:
    """Return scikit-learn's file of digits; importing the library takes a second, which a first search need not wait.

    Raises:
        FileNotFoundError: scikit-learn is not there, or keeps it elsewhere.
    """
    found = find_spec("sklearn")
    folders = () if found is None else found.submodule_search_locations or ()
    for folder in folders:
        file = Path(folder, "datasets", "data", "digits.csv.gz")
        if file.is_file():
            return file
    raise FileNotFoundError(2, "scikit-learn's datasets/data/digits.csv.gz is not there")


@dataclass(frozen=True)
class Digits:
    """The 1,797 handwritten digits of scikit-learn: 8 x 8 pixels, grey, ten classes; from UCI, by CC BY 4.0."""

    path: Path = Path("scikit-learn's digits")

    text: ClassVar[tuple[str, ...]] = ("image",)
    way_out: ClassVar[str] = "Install scikit-learn again."
    is_here: ClassVar[bool] = True

    def __str__(self) -> str:
        return str(self.path)

    def read(self, part: str) -> pa.Table:
        """Read all digits."""
        return self.read_with_remarks(part)[0]

    def read_with_remarks(self, part: str) -> tuple[pa.Table, tuple[str, ...]]:
        """Read all digits; there are no remarks."""
        from PIL import Image

        found = np.loadtxt(digits_file(), delimiter=",")  # 64 levels of grey, then the digit
        images = []
        for pixels in np.rint(found[:, :-1].reshape(-1, 8, 8) * (255 / DIGITS_LEVELS)).astype(np.uint8):
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, "PNG")
            images.append(as_text(file.getvalue()))
        ids = [f"{part}-{number}" for number in range(1, len(images) + 1)]
        return _table(ids, images, pa.array([str(int(label)) for label in found[:, -1]])), ()


def class_folders(path: Path) -> list[Path]:
    """Return the folders of a folder, a class each."""
    return sorted(each for each in path.iterdir() if each.is_dir() and not each.name.startswith("."))


def is_image_folder(path: Path) -> bool:
    """Return whether a folder has images in folders of classes, at once or below a part's (train, test)."""
    if not path.is_dir():
        return False
    below = [path / "train"] if (path / "train").is_dir() else [path]
    return any(_has_images(folder) for each in below for folder in class_folders(each))


def _has_images(folder: Path) -> bool:
    return any(each.suffix.lower() in SUFFIXES for each in folder.iterdir())


def part_folder(path: Path, names: Iterable[str]) -> Path | None:
    """Return the folder of a part by one of its names; None if there is none."""
    return next((path / name for name in names if (path / name).is_dir()), None)


def _table(ids: list[str], images: Sequence[str | None], labels: Any) -> pa.Table:
    return pa.table(
        {
            "id": pa.array(ids, pa.string()),
            "text_a": pa.array(images, pa.string()),
            "label": labels if pa.types.is_dictionary(labels.type) else as_strings(labels, "label"),
        }
    )
