"""Choose validation and calibration rows: stratified, duplicates together, by the rows' own text.

A row's place follows from a hash of its key, so the choice is the same on every machine, for every seed
and for every order of the rows. Rows with the same key stay together.

Shapes: R rows, S strata.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

import numpy as np
import numpy.typing as npt

from pipeline.study.classes import class_key

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

QUANTILE_BINS = 10
VALIDATION_FRACTION = 0.2
VALIDATION_ROWS = 2000  # at most: a standard error of about one point, and a curve is many passes over them
CALIBRATION_ROWS = 512


def validation_rows(
    texts: Sequence[tuple[str, ...]], labels: npt.NDArray[np.generic], *, regression: bool
) -> BoolArray:
    """Choose validation rows among the official train rows [R]: a fifth, at most 2,000, equal texts together."""
    rows = min(VALIDATION_ROWS, max(1, round(VALIDATION_FRACTION * len(texts))))
    keys = [text_key(*row) for row in texts]
    return carve(keys, strata(labels, regression=regression), rows=rows, salt="validation")


def test_rows(
    texts: Sequence[tuple[str, ...]], labels: Sequence[str | None], *, regression: bool
) -> BoolArray:
    """Choose test rows [R] of a task that has none: as many as `validation_rows`, by labels as they are written."""
    rows = min(VALIDATION_ROWS, max(1, round(VALIDATION_FRACTION * len(texts))))
    keys = [text_key(*row) for row in texts]
    if regression:
        return carve(keys, np.zeros(len(keys), dtype=np.int64), rows=rows, salt="test")
    _, classes = np.unique([class_key(label or "") for label in labels], return_inverse=True)
    return carve(keys, strata(classes, regression=False), rows=rows, salt="test")


def calibration_rows(ids: Sequence[str], labels: npt.NDArray[np.generic], *, regression: bool) -> BoolArray:
    """Choose calibration rows among the train rows [R]: at most 512; they stay train rows, too."""
    rows = min(CALIBRATION_ROWS, len(ids))
    return carve(ids, strata(labels, regression=regression), rows=rows, salt="calibration")


def text_key(*texts: str) -> str:
    """Return a key of a row's texts; case, white space and the order of a pair make no difference."""
    return "\x1f".join(sorted(" ".join(text.casefold().split()) for text in texts))


def strata(labels: npt.NDArray[np.generic], *, regression: bool) -> IntArray:
    """Return the stratum [R] of each label [R]: its class, or its decile.

    Where values repeat there are fewer bins.
    """
    if not regression:
        return labels.astype(np.int64)
    values = labels.astype(np.float64)
    edges = np.unique(np.quantile(values, np.linspace(0, 1, QUANTILE_BINS + 1)[1:-1]))
    bins: IntArray = np.digitize(values, edges).astype(np.int64)
    return bins


def _quotas(available: IntArray, groups: IntArray, rows: int) -> IntArray:
    """Return how many rows [S] to take of each stratum: in proportion, at least one of each that can spare one."""
    exact = available * rows / available.sum()
    least = (groups > 1).astype(np.int64)
    quota: IntArray = np.maximum(np.floor(exact).astype(np.int64), least)
    while quota.sum() < rows:
        quota[np.argmax(exact - quota)] += 1
    while quota.sum() > rows and (quota > least).any():
        quota[np.argmax(np.where(quota > least, quota - exact, -np.inf))] -= 1
    return quota


def carve(keys: Sequence[str], strata: IntArray, *, rows: int, salt: str) -> BoolArray:
    """Set aside about `rows` of R rows, never more: True [R] = set aside.

    Every stratum gives its share, to within one row, as far as groups of equal keys allow; each one with
    two groups or more has rows on both sides (when `rows` suffices). A group that lies in
    several strata counts for the lowest. `salt` makes independent choices from the same keys.
    """
    digests = np.fromiter(
        (int.from_bytes(sha256(f"{salt}\x1e{key}".encode()).digest()[:8], "big") for key in keys),
        dtype=np.uint64,
        count=len(keys),
    )
    # sorted by digest: the order in which groups are taken
    unique, group_of, sizes = np.unique(digests, return_inverse=True, return_counts=True)
    stratum = np.full(len(unique), np.iinfo(np.int64).max)
    np.minimum.at(stratum, group_of, strata)

    present, stratum = np.unique(stratum, return_inverse=True)
    groups = np.bincount(stratum, minlength=len(present))
    available = np.bincount(stratum, weights=sizes, minlength=len(present)).astype(np.int64)
    chosen = np.zeros(len(unique), dtype=bool)
    left = min(rows, len(keys))
    for index, quota in enumerate(_quotas(available, groups, left)):
        for group in np.flatnonzero(stratum == index)[:-1]:  # the last group stays
            if quota == 0 or left == 0:
                break
            if sizes[group] <= min(quota, left):
                chosen[group] = True
                quota -= sizes[group]
                left -= sizes[group]
    return chosen[group_of]
