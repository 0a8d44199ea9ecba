"""Whether a task is there: a known name, or a file with the columns that are named. Asked before torch is imported."""

from __future__ import annotations

from pathlib import Path

from pipeline.study.nearest import did_you_mean
from pipeline.study.records import BadInput
from pipeline.task.datafile import check_columns, is_data, look_into
from pipeline.task.docstring_kinds import PREFIX, RECIPES
from pipeline.task.glue import GLUE, UNUSABLE
from pipeline.task.imagefiles import is_image_folder
from pipeline.task.kind_names import IMAGES
from pipeline.task.taskfile import TaskFile, read_taskfile

BUILTIN, DIGITS = "builtin/docstrings", "builtin/digits"
MADE = {f"{PREFIX}{kind}": kind for kind in RECIPES}
NAMES = (BUILTIN, DIGITS, *MADE)
GLUE_NAMES = tuple(f"glue/{name}" for name in GLUE)
HUB, FILE = "hf:", ".toml"


def check_place(
    task: str, *, text: tuple[str, ...], label: str | None, metric: str | None, kind: str | None
) -> None:
    """Refuse a task that is not there, or whose file of rows has not the columns that are used; reads no row.

    A data set of the hub is not asked for. Arguments as of `load_task`.

    Raises:
        BadInput: there is no such task, or no such column.
    """
    if task in UNUSABLE:
        raise BadInput(UNUSABLE[task])
    if task.startswith(HUB) or task in (*NAMES, *GLUE_NAMES):
        return
    path = path_of(task)
    if task.endswith(FILE):
        settings = settings_of(path)
        files = settings.files
        for file in filter(None, (files.train, files.test, files.validation)):
            named_in(path, file)
        return
    if has_a_name(task) or not (is_image_folder(path) or is_data(path)):
        raise no_such(task)
    check_data(path, text=text, label=label, metric=metric, kind=kind)


def check_data(
    data: Path,
    *,
    text: tuple[str, ...],
    label: str | tuple[str, ...] | None,
    metric: str | None,
    kind: str | None,
) -> None:
    """Refuse a path that is neither a folder of images nor rows with the columns that are used; reads no row.

    Raises:
        BadInput: it is none, or has not a column.
    """
    if is_image_folder(data):
        check_image_folder(data, text=text, label=label, kind=kind)
        return
    if not is_data(data):
        raise BadInput(
            f"{data} is no file of rows (csv, tsv, jsonl, parquet; also .gz, .zst), no folder of them, and no folder "
            "of images per class."
        )
    labels = (label,) if isinstance(label, str) else label or ()
    if kind is None and metric is None and len(labels) < 2:
        # a classification: its usual columns are the default
        look_into(data, text=text, label=label, labelled=True)
    else:
        check_columns(data, (*text, *labels))


def check_image_folder(
    folder: Path, *, text: tuple[str, ...], label: str | tuple[str, ...] | None, kind: str | None
) -> None:
    """Refuse what does not go with a folder of images per class: columns, and another kind.

    Raises:
        BadInput: with what was given.
    """
    if kind not in (None, IMAGES):
        raise BadInput(
            f"--kind is {kind!r}, and {folder} is a folder of images per class, whose kind is {IMAGES}. Leave --kind "
            "out, or give a file of rows."
        )
    given = [option for option, value in (("--text", text), ("--label", label)) if value]
    if given:
        names, it = ("name", "them") if len(given) > 1 else ("names", "it")
        raise BadInput(
            f"{' and '.join(given)} {names} columns, and {folder} is a folder of images per class: it has none. Leave "
            f"{it} out."
        )


def has_a_name(task: str) -> bool:
    """Return whether a task is known by name, whatever files there are."""
    return not task or task in NAMES or task.startswith("glue/") or task.endswith(FILE)


def path_of(task: str) -> Path:
    """Return a task's file or folder.

    Raises:
        BadInput: it is in the folder of a user who does not exist.
    """
    try:
        return Path(task).expanduser()
    except RuntimeError as error:
        raise BadInput(f"{task} names a user who does not exist.") from error


def no_such(task: str) -> BadInput:
    """Return what is said of a task that is not there."""
    return BadInput(
        f"There is no task {task!r}.{did_you_mean(task, (*NAMES, *GLUE_NAMES))} A task is "
        f"{', '.join((*NAMES, *GLUE_NAMES))}, hf:NAME or hf:NAME@CONFIG of a hub data set, a file or folder "
        "of rows (csv, tsv, jsonl, parquet), a folder of images per class, or a task file (.toml)."
    )


def settings_of(path: Path) -> TaskFile:
    """Return what a task file says.

    Raises:
        BadInput: it cannot be read, or is none.
    """
    try:
        return read_taskfile(path)
    except OSError as error:
        raise BadInput(
            f"{path} cannot be read: {error.strerror}. A task file says where rows are."
        ) from error
    except ValueError as error:
        raise BadInput(f"{path} is no task file: {error}. It is TOML that says where rows are.") from error


def named_in(path: Path, file: str) -> Path:
    """Return where a file is that a task file names.

    Raises:
        BadInput: it is not there.
    """
    found = path.parent / file
    if not found.exists():
        raise BadInput(f"{path} names {file!r}, and there is no {found}.")
    return found
