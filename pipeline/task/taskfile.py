"""A user's task file: which local files hold the rows, and how they are scored.

name = "sst2"
kind = "classification"       # optional: see pipeline.task.kinds; without it the metric decides
metric = "accuracy"           # optional with kind
text = ["sentence"]           # or two columns
label = "label"               # or several columns of 0 and 1, of a multi-label task
max_length = 48               # tokens; optional, like delimiter, regression, positive and files.validation
                              # without label and metric: rows without labels, for a search without training
positive = "1"                # of two classes: the one whose F1 is meant
loss = "listwise"             # of a ranking; or "pointwise"
threshold = "fitted"          # of several labels: on calibration rows; or a probability, 0.5 by default

[files]                       # csv, tsv, jsonl or parquet, also .gz or .zst; paths relative to this file
train = "train.tsv"
test = "test.tsv"             # without it a part of train is kept aside
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.study.metrics import AGREEMENT
from pipeline.task.encodings import text_of

OPTIONS = ("loss", "threshold")  # keys that belong to one kind of task alone


class Files(BaseModel):
    """The table [files]; without `validation`, or `test`, these are carved out of train."""

    model_config = ConfigDict(extra="forbid", strict=True)

    train: str
    test: str | None = None
    validation: str | None = None


class TaskFile(BaseModel):
    """The keys of a task file; what they name is not looked at here."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field(min_length=1)
    metric: str | None = None
    text: list[str] = Field(min_length=1, max_length=2)
    label: str | list[str] | None = None
    files: Files
    max_length: int = Field(default=128, gt=0)
    delimiter: str | None = Field(default=None, min_length=1, max_length=1)
    regression: bool | None = None
    positive: str | None = None
    kind: str | None = None
    loss: str | None = None  # of a ranking: pointwise or listwise
    threshold: float | str | None = None  # of several labels: a probability, or "fitted" on calibration rows

    @model_validator(mode="after")
    def _names_columns_once(self) -> Self:
        labels = self.label if isinstance(self.label, list) else [self.label]
        if len({*self.text, *labels}) < len(self.text) + len(labels):
            raise ValueError("text and label must name different columns")
        return self

    @model_validator(mode="after")
    def _has_a_metric_for_its_label(self) -> Self:
        if self.kind is not None:
            return self
        if self.label is None and self.metric not in (None, AGREEMENT):
            raise ValueError(
                "the key 'label' is missing (rows without labels have no metric but agreement with the network: leave "
                "metric out, too)"
            )
        if self.label is not None and self.metric in (None, AGREEMENT):
            raise ValueError(
                f"metric = {AGREEMENT!r} is for rows without labels: leave label out"
                if self.metric is not None
                else "the key 'metric' is missing"
            )
        return self


def read_taskfile(path: Path) -> TaskFile:
    """Read a task file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not TOML (the message names the line), or a key is unknown, missing or malformed.
    """
    try:
        return TaskFile.model_validate(tomllib.loads(text_of(path.read_bytes())))
    except ValidationError as error:
        raise ValueError(_complaints(error)) from error


def _complaints(error: ValidationError) -> str:
    """Format pydantic's errors, each with its key, and with the known keys where one is unknown."""
    complaints = []
    for finding in error.errors():
        key = ".".join(str(part) for part in finding["loc"])
        if finding["type"] == "extra_forbidden":
            known = Files.model_fields if len(finding["loc"]) > 1 else TaskFile.model_fields
            complaints.append(f"unknown key {key!r}, known there are {', '.join(known)}")
        elif finding["type"] == "missing":
            complaints.append(f"the key {key!r} is missing")
        elif finding["type"] == "value_error":
            complaints.append(str(finding["ctx"]["error"]))
        else:
            complaints.append(f"{key} = {finding['input']!r}: {finding['msg'].lower()}")
    return "; ".join(complaints)
