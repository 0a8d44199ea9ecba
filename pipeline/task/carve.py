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

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

QUANTILE_BINS = 10
VALIDATION_FRACTION = 0.2
VALIDATION_ROWS = 2000  # at most: a standard error of about one point, and a curve is many passes over them
CALIBRATION_ROWS = 512


def validation_rows(keys: Sequence[str], strata: IntArray) -> BoolArray:
    """Choose validation rows among the official train rows [R]: a fifth, at most 2,000, equal keys together."""
    return carve(keys, strata, rows=_aside(len(keys)), salt="validation")


def test_rows(keys: Sequence[str], strata: IntArray) -> BoolArray:
    """Choose test rows [R] of a task that has none: as many as `validation_rows`."""
    return carve(keys, strata, rows=_aside(len(keys)), salt="test")


def calibration_rows(ids: Sequence[str], strata: IntArray) -> BoolArray:
    """Choose calibration rows among the train rows [R]: at most 512; they stay train rows, too."""
    return carve(ids, strata, rows=min(CALIBRATION_ROWS, len(ids)), salt="calibration")


def _aside(rows: int) -> int:
    return min(VALIDATION_ROWS, max(1, round(VALIDATION_FRACTION * rows)))


def text_key(*texts: str) -> str:
    """Return a key of a row's texts; case, white space and the order of a pair make no difference."""
    return "\x1f".join(sorted(" ".join(text.casefold().split()) for text in texts))


def deciles(values: npt.NDArray[np.generic]) -> IntArray:
    """Return the decile [R] of each value [R]. Where values repeat there are fewer bins."""
    numbers = values.astype(np.float64)
    edges = np.unique(np.quantile(numbers, np.linspace(0, 1, QUANTILE_BINS + 1)[1:-1]))
    bins: IntArray = np.digitize(numbers, edges).astype(np.int64)
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
