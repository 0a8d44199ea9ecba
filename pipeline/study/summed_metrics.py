"""Metrics that are functions of sums over units (rows, questions, queries): of a resample, too, without repeating it.

Labels and predictions are arrays [V, ...] whose first axis is the unit. Shapes: V units, S summed numbers, C classes,
W words of a row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]
Floats = npt.NDArray[np.float64]
Scores = dict[str, Floats]


@dataclass(frozen=True)
class Summed:
    """`of_units` (labels, predictions) -> [V, S]; `of_sums` (sums [..., S], units [...]) -> scores [...] by name."""

    of_units: Callable[[Array, Array], Floats]
    of_sums: Callable[[Floats, Floats], Scores]


def ratio(above: Floats, below: Floats) -> Floats:
    """Return above / below; 0 where nothing is below."""
    return np.divide(above, below, out=np.zeros_like(above, dtype=np.float64), where=below > 0)


# ---- several labels per row: [V, C] of 0 and 1 -----------------------------------------------------------------------


def _label_units(labels: Array, predictions: Array) -> Floats:
    """Return [V, 3 C + 1]: hits, predicted, there, by class; whether the whole set is right."""
    there, found = labels.astype(np.float64), predictions.astype(np.float64)
    exact = (labels == predictions).all(axis=1).astype(np.float64)
    return np.concatenate([there * found, found, there, exact[:, None]], axis=1)


def _label_scores(sums: Floats, units: Floats) -> Scores:
    hits, found, there = np.moveaxis(sums[..., :-1].reshape(*sums.shape[:-1], 3, -1), -2, 0)
    micro = ratio(2 * hits.sum(-1), found.sum(-1) + there.sum(-1))
    macro: Floats = ratio(2 * hits, found + there).mean(-1)
    return {"micro_f1": micro, "macro_f1": macro, "subset_accuracy": ratio(sums[..., -1], units)}


# ---- entities: tags [V, W] as numbers, see `tag_code` ---------------------------------------------------------------

PREFIXES = "BIES"
STEP = 8  # of a type's numbers
OUTSIDE, ABSENT = 0, -1


def tag_code(tag: str, types: tuple[str, ...]) -> int:
    """Return a tag's number: 0 for O; of the n-th type 8 (n + 1) + 1 (B), 2 (I), 3 (E) or 4 (S).

    Raises:
        ValueError: it is no tag of BIO or BIOES.
    """
    if tag == "O":
        return OUTSIDE
    prefix, _, kind = tag.partition("-")
    if prefix not in tuple(PREFIXES) or not kind:
        raise ValueError(f"{tag!r} is no tag of BIO or BIOES")
    return STEP * (types.index(kind) + 1) + 1 + PREFIXES.index(prefix)


def entities(codes: Array) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return, of each word [V, W], whether an entity starts there, where it ends, and its type; as conlleval has it.

    Tjong Kim Sang and Buchholz 2000 (CoNLL's script): an entity also starts at an I after O, or after another type,
    and ends before a B, S, O or another type.
    """
    now = np.maximum(codes.astype(np.int64), 0)
    before = np.pad(now, ((0, 0), (1, 0)))[:, :-1]
    after = np.pad(now, ((0, 0), (0, 1)))[:, 1:]
    part, kind = now % STEP, now // STEP
    last = np.isin(before % STEP, (3, 4))  # E, S
    new = np.isin(part, (1, 4)) | (before == 0) | (before // STEP != kind) | last
    starts: npt.NDArray[np.bool_] = (now > 0) & new
    done = np.isin(part, (3, 4)) | np.isin(after % STEP, (0, 1, 4)) | (after // STEP != kind)
    ends = (now > 0) & done
    width = now.shape[1]
    places = np.where(ends, np.arange(width), width)
    until = np.minimum.accumulate(places[:, ::-1], axis=1)[:, ::-1]
    return starts, until, kind


def entity_counts(labels: Array, predictions: Array, *, kind: int | None = None) -> Floats:
    """Return [V, 3]: entities found, predicted and there; of one type (from 1), or of all."""
    (s, e, k), (s2, e2, k2) = entities(labels), entities(predictions)
    if kind is not None:
        s, s2 = s & (k == kind), s2 & (k2 == kind)
    hits = s & s2 & (e == e2) & (k == k2)
    return np.stack([each.sum(axis=1) for each in (hits, s2, s)], axis=1).astype(np.float64)


def _entity_scores(sums: Floats, units: Floats) -> Scores:
    del units
    hits, found, there = np.moveaxis(sums, -1, 0)
    return {
        "entity_f1": ratio(2 * hits, found + there),
        "precision": ratio(hits, found),
        "recall": ratio(hits, there),
    }


# ---- means over units: predictions [V, S] are already scores -------------------------------------------------------


def means(*names: str) -> Summed:
    """Return a metric whose predictions [V, S] (or [V]) are scores of units: their means, by name."""

    def of_units(labels: Array, predictions: Array) -> Floats:
        del labels
        return predictions.astype(np.float64).reshape(len(predictions), -1)

    def of_sums(sums: Floats, units: Floats) -> Scores:
        return {name: ratio(sums[..., place], units) for place, name in enumerate(names)}

    return Summed(of_units, of_sums)


LABELS = Summed(_label_units, _label_scores)
ENTITIES = Summed(lambda labels, predictions: entity_counts(labels, predictions), _entity_scores)
