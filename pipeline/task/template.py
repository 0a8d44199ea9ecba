"""A task file that explains itself, written from a file of rows."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pipeline.study.records import BadInput
from pipeline.study.whole_file import write_new
from pipeline.task.datafile import is_data, look_into
from pipeline.task.loading import Task, load_task
from pipeline.task.taskfile import read_taskfile

SHOWN = 8  # classes that the file names
POSITIVE = '# positive = "…"         # of two classes: the one whose F1 is meant'


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
    label: str | None,
    metric: str,
    to: Path | None,
    cache: Path,
) -> Template:
    """Read a file or a folder of rows, and write the task file that `search --task` takes.

    Args:
        data: the rows.
        text: the text columns; empty to find them.
        label: the label column; None to find it.
        metric: of study/metrics.py.
        to: the file; None for NAME.toml beside the data.
        cache: what is kept of a hub's rows; none are read here.

    Raises:
        BadInput: the rows cannot be used, or the file is there already.
    """
    if not is_data(data):
        raise BadInput(
            f"{data} is no file of rows (csv, tsv, jsonl, parquet; also .gz, .zst) and no folder of them."
        )
    found = look_into(data, text=text, label=label, labelled=True)
    assert found.label is not None
    name = data.name.partition(".")[0] or data.resolve().name
    file = (to if to is not None else data.parent / f"{name}.toml").expanduser()
    if file.exists():
        raise BadInput(f"{file} is there already. Name another by --to, or remove it.")
    task = load_task(str(data), cache=cache, text=found.text, label=found.label, metric=metric)
    folder = file.parent.resolve()
    places = {
        "train": found.train,
        **({} if found.validation is None else {"validation": found.validation}),
        **({} if found.test is None else {"test": found.test}),
    }
    lines = [
        f"# The task of {data.name}, for `prunefront search --task {file.name}`. Every key is explained in",
        "# docs/guide/tasks.md; lines that begin with # are ignored.",
        "",
        f"name = {_quoted(name)}            # names of studies begin with it",
        f"metric = {_quoted(metric)}        # accuracy, f1, accuracy_f1, matthews; for values: pearson_spearman",
        f"text = [{', '.join(map(_quoted, found.text))}]    # one column, or two for pairs of texts",
        f"label = {_quoted(found.label)}    # {_labels(task)}",
        f"max_length = {task.max_length}         # tokens of a row; longer rows are cut there",
        *([POSITIVE] if len(task.class_names) == 2 else []),
        "",
        "[files]                    # csv, tsv, jsonl or parquet, also .gz or .zst; relative to this file",
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
    return Template(
        file, rows, task.class_names, f"{rows:,} rows, {_labels(task)}", (*found.remarks, *task.remarks)
    )


def _labels(task: Task) -> str:
    """Return what the label column has."""
    if not task.class_names:
        return "values"
    shown = ", ".join(task.class_names[:SHOWN]) + (", …" if len(task.class_names) > SHOWN else "")
    return f"{len(task.class_names)} classes: {shown}".replace("\n", " ")


def _absent(places: dict[str, Path]) -> list[str]:
    """Return remarks on parts that have no file."""
    lines = []
    if "validation" not in places:
        lines.append(
            '# validation = "…"       # without it a part of train is kept aside, by which networks are chosen'
        )
    if "test" not in places:
        lines.append(
            '# test = "…"             # without it a part of train is kept aside, which no search reads'
        )
    return lines


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path.resolve(), folder)).as_posix()


def _quoted(value: str) -> str:
    """Return a string of TOML."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in escaped) + '"'
