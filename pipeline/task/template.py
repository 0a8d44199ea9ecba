"""A task file that explains itself, written from a file of rows or a folder of images per class."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

import numpy as np
import pyarrow as pa

from pipeline.study.records import BadInput
from pipeline.study.whole_file import write_new
from pipeline.task.datafile import TEST, VALIDATION, DataFile, look_into
from pipeline.task.encodings import printable
from pipeline.task.imagefiles import ImageFolder, is_image_folder, part_folder
from pipeline.task.kinds import KINDS, scored_by
from pipeline.task.kinds.images import Images
from pipeline.task.kinds.multi_label import MultiLabel
from pipeline.task.loading import Task, load_task
from pipeline.task.place import check_data
from pipeline.task.taskfile import read_taskfile

SHOWN = 8  # classes that the file names
ACCURACY, RARE = "accuracy", 0.05  # of rows: a class with fewer is remarked on
WIDTH = 26  # of an entry before what it means
POSITIVE = '# positive = "…"           # of two classes: the one whose F1 is meant'


@dataclass(frozen=True)
class Template:
    """A task file that was written, and what its rows are."""

    file: Path
    rows: int  # of train and validation
    classes: tuple[str, ...]
    said: str
    remarks: tuple[str, ...]


def write_taskfile(
    data: Path,
    *,
    text: tuple[str, ...],
    label: str | tuple[str, ...] | None,
    metric: str | None,
    kind: str | None = None,
    to: Path | None,
    cache: Path,
) -> Template:
    """Read a file or a folder of rows, and write the task file that `search --task` takes.

    Args:
        data: the rows.
        text: the text columns; empty to find them.
        label: the label column, or several of 0 and 1 of a multi-label task; None to find it.
        metric: of study/metrics.py; None for the kind's first.
        kind: a key of KINDS; None: the one that the metric belongs to, or classification.
        to: the file; None for NAME.toml beside the data.
        cache: what is kept of a hub's rows; none are read here.

    Raises:
        BadInput: the rows cannot be used, or the file is there already.
    """
    of_images = is_image_folder(data)
    check_data(data, text=text, label=label, metric=metric, kind=kind)
    if kind is None and (of_images or isinstance(label, tuple)):
        kind = Images.name if of_images else MultiLabel.name
    of_kind, metric = scored_by(kind, metric, of=str(data))
    found = (
        _images_of(data)
        if of_images
        else look_into(
            data, text=text, label=label, labelled=of_kind.reads_label(metric), usual=of_kind.usual
        )
    )
    name = data.name.partition(".")[0] or data.resolve().name
    file = (to if to is not None else data.parent / f"{name}.toml").expanduser()
    if file.exists():
        raise BadInput(f"{file} is there already. Name another by --to, or remove it.")
    task = (
        load_task(str(data), cache=cache, metric=metric)
        if of_images
        else load_task(
            str(data), cache=cache, text=found.text, label=found.label, metric=metric, kind=of_kind.name
        )
    )
    folder = file.parent.resolve()
    places = {
        "train": found.train,
        **({} if found.validation is None else {"validation": found.validation}),
        **({} if found.test is None else {"test": found.test}),
    }
    lines = [
        f"# The task of {data.name}, for `prunefront search --task {quote(file.name)}`. Every key is explained in",
        "# docs/guide/tasks.md; lines that begin with # are ignored.",
        "",
        _line(f"name = {_quoted(name)}", "names of studies begin with it"),
        _line(f"kind = {_quoted(of_kind.name)}", ", ".join(KINDS)),
        _line(f"metric = {_quoted(metric)}", f"of this kind: {', '.join(of_kind.metrics)}"),
        _line(
            f"text = [{', '.join(map(_quoted, found.text))}]",
            "the images themselves" if of_images else "one column, or two for pairs",
        ),
        *([] if found.label is None else [_line(f"label = {_names(found.label)}", _labels(task))]),
        *(
            []
            if of_kind.of_images
            else [_line(f"max_length = {task.max_length}", "tokens; longer rows are cut")]
        ),
        *([POSITIVE] if of_kind.one_class and len(task.class_names) == 2 else []),
        *(_line(f'# {option} = "…"', "an option of this kind") for option in of_kind.options),
        "",
        _line(
            "[files]",
            (
                "folders with a folder per class"
                if of_images
                else "csv, tsv, jsonl or parquet, also .gz or .zst"
            )
            + "; relative to this file",
        ),
        *(f"{part} = {_quoted(_relative(path, folder))}" for part, path in places.items()),
        *(_absent(places)),
        "",
    ]
    try:
        if not write_new(file, "\n".join(lines).encode()):
            raise BadInput(f"{file} is there already. Name another by --to, or remove it.")
    except OSError as error:
        raise BadInput(f"{file} cannot be written: {error.strerror or error}.") from error
    read_taskfile(file)
    rows = task.train.num_rows + task.validation.num_rows
    remarks = (*found.remarks, *task.remarks, *_on_rare_classes(task, metric))
    return Template(file, rows, task.class_names, f"{rows:,} rows, {_labels(task)}", remarks)


def _images_of(data: Path) -> DataFile:
    """Return the folders of images of each part; a class is the name of its folder."""
    train, validation, test = (part_folder(data, names) for names in (("train",), VALIDATION, TEST))
    return DataFile(train or data, validation, test, ImageFolder.text, "label", ())


def _names(label: str | tuple[str, ...]) -> str:
    return _quoted(label) if isinstance(label, str) else f"[{', '.join(map(_quoted, label))}]"


def _labels(task: Task) -> str:
    """Return what the label column has."""
    if not task.class_names:
        return f"of the kind {task.kind.name}"
    shown = ", ".join(task.class_names[:SHOWN]) + (", …" if len(task.class_names) > SHOWN else "")
    return printable(f"{len(task.class_names)} classes: {shown}")


def _on_rare_classes(task: Task, metric: str) -> list[str]:
    """Return what accuracy does not show of a class with few rows."""
    labels = pa.chunked_array([*task.train["label"].chunks, *task.validation["label"].chunks])
    if metric != ACCURACY or not task.class_names or not pa.types.is_integer(labels.type):
        return []
    counts = np.bincount(labels.to_numpy(), minlength=len(task.class_names))
    rarest = int(counts.argmin())
    if counts[rarest] >= RARE * len(labels):
        return []
    return [
        f"{task.class_names[rarest]!r} is the label of {counts[rarest]:,} of {len(labels):,} rows: {ACCURACY} hardly "
        'shows whether it is predicted. metric = "f1" does.'
    ]


def _absent(places: dict[str, Path]) -> list[str]:
    """Return remarks on parts that have no file."""
    lines = []
    if "validation" not in places:
        why = "without it a part of train is kept aside, by which networks are chosen"
        lines.append(_line('# validation = "…"', why))
    if "test" not in places:
        why = "without it a part of train is kept aside, which no search reads"
        lines.append(_line('# test = "…"', why))
    return lines


def _line(entry: str, why: str) -> str:
    """Return an entry and what it means, one below the other."""
    return f"{entry:<{WIDTH}} # {why}"


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path.resolve(), folder)).as_posix()


def _quoted(value: str) -> str:
    """Return a string of TOML."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped) + '"'
