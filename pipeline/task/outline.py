"""Resolve a task's name to the places of its rows and their meaning; no row is read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.study.metrics import AGREEMENT
from pipeline.study.records import BadInput
from pipeline.task import docstrings
from pipeline.task.datafile import is_data, look_into
from pipeline.task.docstring_kinds import RECIPES, Made
from pipeline.task.glue import GLUE, LABEL, MAX_LENGTH, REPOSITORY, ROW_NUMBER, UNUSABLE
from pipeline.task.hub import HubSource, look_into_hub
from pipeline.task.imagefiles import (
    TEST,
    VALIDATION,
    Digits,
    ImageFolder,
    ImageTable,
    is_image_folder,
    part_folder,
)
from pipeline.task.kinds import KINDS, Classification, Description, Images, Kind, Regression, scored_by
from pipeline.task.place import (
    BUILTIN,
    DIGITS,
    FILE,
    GLUE_NAMES,
    HUB,
    MADE,
    check_image_folder,
    has_a_name,
    named_in,
    no_such,
    path_of,
    settings_of,
)
from pipeline.task.readers import DELIMITERS, kind_of
from pipeline.task.rows import FileSource, PartOfFile, columns_of
from pipeline.task.taskfile import OPTIONS

Source = FileSource | HubSource | PartOfFile | ImageFolder | ImageTable | Digits | Made
ImageSource = ImageFolder | ImageTable | Digits
Scored = tuple[type[Kind], str]  # a kind of task, and its metric

ONE = 1  # of images: one has as many tokens as its network makes of it
BUILTIN_MAX_LENGTH = 48  # tokens; its sentences have at most 32 words


@dataclass(frozen=True)
class TestSource:
    """Where the parts of the official dev split lie, by name. Nothing is opened before `open_test`."""

    parts: tuple[tuple[str, Source], ...]


@dataclass(frozen=True)
class Outline:
    """A task before its rows are read."""

    name: str
    kind: type[Kind]
    described: Description
    max_length: int
    train: Source
    test: TestSource
    validation: Source | None = None
    remarks: tuple[str, ...] = ()  # for the user, on which columns were taken


def outline_of(
    name_or_file: str,
    *,
    cache: Path,
    text: tuple[str, ...],
    label: str | tuple[str, ...] | None,
    metric: str | None,
    kind: str | None = None,
) -> Outline:
    """Return what is known of a task by its name, or its task file; arguments as of `load_task`.

    Raises:
        BadInput: there is no such task, or its description cannot be used.
    """
    if name_or_file.startswith(HUB):
        if label and metric == AGREEMENT:
            raise BadInput(
                f"--label is {label!r}, and --metric {AGREEMENT} is for rows without labels. Leave it out."
            )
        return _hub(name_or_file, cache, text, label, scored_by(kind, metric, of=name_or_file))
    if name_or_file in UNUSABLE:
        raise BadInput(UNUSABLE[name_or_file])
    path = None if has_a_name(name_or_file) else path_of(name_or_file)
    if path is not None and is_image_folder(path):
        check_image_folder(path, text=text, label=label, kind=kind)
        return _image_folder(path, metric)
    if path is not None and is_data(path):
        return _data(path, text, label, scored_by(kind, metric, of=name_or_file))
    if text or label or metric or kind:
        raise BadInput(
            f"The task {name_or_file} has columns, metric and kind of its own. --text, --label, "
            "--metric and --kind describe a file of rows or a hub data set (hf:NAME). Leave them "
            "out, or write a task file."
        )
    if name_or_file == BUILTIN:
        return _builtin()
    if name_or_file in MADE:
        return _made(name_or_file, MADE[name_or_file])
    if name_or_file == DIGITS:
        return _images(DIGITS, Digits(), None, None, Images.metrics[0])
    if name_or_file in GLUE_NAMES:
        return _glue(name_or_file.removeprefix("glue/"), cache)
    if name_or_file.endswith(FILE):
        return _file(path_of(name_or_file))
    raise no_such(name_or_file)


def with_length(outline: Outline, max_length: int, name_or_file: str) -> Outline:
    """Return the outline of a file of rows or a hub data set with rows of at most `max_length` tokens.

    Raises:
        BadInput: the task has a length of its own, or there is no such length.
    """
    if has_a_name(name_or_file):
        raise BadInput(
            f"The task {name_or_file} has a length of its own ({outline.max_length}). --max-length is "
            "for a file of rows or a hub data set (hf:NAME). Leave it out, or change the task file."
        )
    if max_length < 1:
        raise BadInput(f"--max-length is {max_length}. A row has at least one token.")
    return replace(outline, max_length=max_length)


def _data(path: Path, text: tuple[str, ...], label: str | tuple[str, ...] | None, scored: Scored) -> Outline:
    kind, metric = scored
    labelled = metric != AGREEMENT and kind.reads_label(metric)
    found = look_into(path, text=text, label=label, labelled=labelled, usual=kind.usual)

    def source(file: Path) -> FileSource | ImageTable:
        if kind.of_images:
            return ImageTable(file, found.text, found.label)
        return FileSource(file, found.text, found.label, nested=kind.nested)

    whole = source(found.train)
    kept, test = (PartOfFile(whole, aside=aside, kind=kind) for aside in (False, True))
    return Outline(
        name=path.name.partition(".")[0] or path.resolve().name,
        kind=kind,
        described=Description(metric),
        max_length=ONE if kind.of_images else MAX_LENGTH,
        train=kept if found.test is None else whole,
        test=TestSource((("test", test if found.test is None else source(found.test)),)),
        validation=None if found.validation is None else source(found.validation),
        remarks=found.remarks,
    )


def _image_folder(path: Path, metric: str | None) -> Outline:
    """Return the outline of a folder per class, or of such folders below train, validation and test."""
    parts = [part_folder(path, names) for names in (("train",), VALIDATION, TEST)]
    train, validation, test = (None if part is None else ImageFolder(part) for part in parts)
    _, found = scored_by(Images.name, metric, of=str(path))
    return _images(path.resolve().name, train or ImageFolder(path), validation, test, found)


def _images(
    name: str, train: ImageSource, validation: ImageSource | None, test: ImageSource | None, metric: str
) -> Outline:
    kept, aside = (PartOfFile(train, aside=each, kind=Images) for each in (False, True))
    return Outline(
        name=name,
        kind=Images,
        described=Description(metric),
        max_length=ONE,
        train=kept if test is None else train,
        test=TestSource((("test", aside if test is None else test),)),
        validation=validation,
    )


def _builtin() -> Outline:
    train, test = (FileSource(docstrings.rows_of(split), ("text",), "label") for split in ("train", "test"))
    described = Description("accuracy")
    return Outline(
        BUILTIN, Classification, described, BUILTIN_MAX_LENGTH, train, TestSource((("test", test),))
    )


def _made(name: str, kind: str) -> Outline:
    recipe, test = RECIPES[kind], TestSource((("test", Made(kind, "test")),))
    described = Description(recipe.metric, options=recipe.options)
    return Outline(name, KINDS[kind], described, recipe.max_length, Made(kind, "train"), test)


def _glue(name: str, cache: Path) -> Outline:
    task = GLUE[name]

    def source(split: str) -> HubSource:
        return HubSource(REPOSITORY, name, (split,), task.text, LABEL, cache, ROW_NUMBER)

    test = TestSource(tuple((part, source(split)) for part, split in task.test))
    kind, metric = scored_by(None, task.metric, of=name)
    return Outline(f"glue/{name}", kind, Description(metric), MAX_LENGTH, source("train"), test)


def _hub(
    name: str, cache: Path, text: tuple[str, ...], label: str | tuple[str, ...] | None, scored: Scored
) -> Outline:
    kind, metric = scored
    path, _, config = name.removeprefix(HUB).partition("@")
    if not path:
        raise BadInput(f"{name!r} names no data set: write hf:NAME or hf:NAME@CONFIG.")
    labelled = metric != AGREEMENT and kind.reads_label(metric)
    columns = columns_of(text, label or kind.usual.labels[0] if labelled else None)
    if len(text) > 2 or len({*columns}) < len(columns):
        raise BadInput(f"Given are {', '.join(columns)}. A row has one or two text columns and a label.")
    whole = HubSource(path, config or None, ("train",), text, label, cache, nested=kind.nested)
    found = look_into_hub(whole, text=text, label=label, labelled=labelled, usual=kind.usual)

    def source(*splits: str) -> HubSource:
        return replace(whole, splits=splits, text=found.text, label=found.label)

    # some data sets hide the labels of their test split: then their dev split is what there is to test on
    test = TestSource((("test", source("test", "validation")),))
    length = ONE if kind.of_images else MAX_LENGTH
    return Outline(name, kind, Description(metric), length, source("train"), test, remarks=found.remarks)


def _file(path: Path) -> Outline:
    settings = settings_of(path)
    unlabelled = settings.metric is None and settings.kind is None
    kind, metric = scored_by(settings.kind, AGREEMENT if unlabelled else settings.metric, of=settings.name)
    options = {name: str(value) for name in OPTIONS if (value := getattr(settings, name)) is not None}
    if unknown := [name for name in options if name not in kind.options]:
        raise BadInput(f"A task of the kind {kind.name} has no {unknown[0]}. {path}: leave it out.")
    if settings.regression not in (None, kind is Regression):
        raise BadInput(
            f"The metric determines what is predicted, numbers by pearson_spearman alone. {path}: metric is "
            f"{settings.metric!r} and regression is {str(settings.regression).lower()}. Leave regression out."
        )

    def source(file: str) -> FileSource | ImageTable | ImageFolder:
        data = named_in(path, file)
        if settings.delimiter and kind_of(data) not in DELIMITERS:
            raise BadInput(f"Only csv and tsv have a delimiter. {path} gives one for {file!r}: leave it out.")
        label = tuple(settings.label) if isinstance(settings.label, list) else settings.label
        if kind.of_images and data.is_dir():
            return ImageFolder(data)
        if kind.of_images:
            return ImageTable(data, tuple(settings.text), label)
        return FileSource(data, tuple(settings.text), label, settings.delimiter, kind.nested)

    train: Source = source(settings.files.train)
    if settings.files.test is not None:
        test: Source = source(settings.files.test)
    else:
        train, test = (
            PartOfFile(source(settings.files.train), aside=aside, kind=kind) for aside in (False, True)
        )
    return Outline(
        name=settings.name,
        kind=kind,
        described=Description(metric, settings.positive, options),
        max_length=ONE if kind.of_images else settings.max_length,
        train=train,
        test=TestSource((("test", test),)),
        validation=source(settings.files.validation) if settings.files.validation else None,
    )
