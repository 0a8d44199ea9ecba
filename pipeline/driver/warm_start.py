"""Warm start: the first settings of a search, from the fronts of earlier studies, good on most of their tasks.

A rank-based portfolio, chosen greedily, as for warm starts across tasks by Feurer, Springenberg, Hutter (AAAI 2015)
and, without their meta-features, by Wistuba, Schilling, Schmidt-Thieme (IEEE DSAA 2015). Only validation results of
the earlier studies are read, no test rows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.fronts.front import load_front
from pipeline.study.pareto import hypervolume
from pipeline.study.records import BadInput, Measurement, Params, StudySpec, TrialRecord
from pipeline.study.space import Space
from pipeline.study.store import Store

AUTO = "auto"
MOST = 4  # settings that a search begins with
Ranked = dict[str, float]  # settings (their canonical text) -> rank in one study, 1 is the best


@dataclass(frozen=True)
class StudyKind:
    """What two studies have in common if their settings can be compared."""

    method: str
    distill: str
    objective: str

    def __str__(self) -> str:
        distilled = "" if self.distill == "none" else f"+{self.distill}"
        return f"{self.method}{distilled} against {self.objective}"


def warm_starts(store: Store, source: str, *, kind: StudyKind, space: Space) -> list[Params]:
    """Return settings for the first trials of a study, best first; at most MOST.

    Args:
        store: that holds the earlier studies.
        source: the name of one, or AUTO: all of the same method, distillation and objective.
        kind: of the new study.
        space: of the new study. Its fixed settings win; earlier settings outside its ranges are left out.

    Raises:
        BadInput: there is no such study, it is of another method, or none has settings that the space admits.
    """
    studies = _studies(store, source, kind)
    found: dict[str, Params] = {}
    ranks: list[Ranked] = []
    for study in studies:
        ranked: Ranked = {}
        for params in _by_contribution(store, study):
            fitted = space.fitted(params)
            if fitted is not None:
                text = json.dumps(fitted, sort_keys=True)
                found.setdefault(text, fitted)
                ranked.setdefault(text, len(ranked) + 1.0)
        if ranked:
            ranks.append(ranked)
    if not found:
        raise BadInput(
            f"{store.root} has {len(studies)} studies of {kind} to start from"
            + (", and no setting on their fronts is one that this study's space admits" if studies else "")
            + ". Leave --warm-start out, or name another study."
        )
    return [found[text] for text in greedy(ranks, most=MOST)]


def greedy(ranks: Sequence[Ranked], *, most: int) -> list[str]:
    """Choose settings among which every study has a good one: each lowers the mean of the best ranks most.

    Settings that a study did not try rank behind all of its own. Ties are broken by the mean rank, then by text.
    """
    everything = sorted(set().union(*ranks))
    table = np.array([[ranked.get(text, len(ranked) + 1.0) for text in everything] for ranked in ranks])
    best = np.full(len(ranks), np.inf)
    chosen: list[int] = []
    while len(chosen) < min(most, len(everything)):
        gains = np.minimum(best[:, None], table).mean(axis=0)
        free = [place for place in range(len(everything)) if place not in chosen]
        pick = min(free, key=lambda place: (gains[place], table[:, place].mean(), everything[place]))
        chosen.append(pick)
        best = np.minimum(best, table[:, pick])
    return [everything[place] for place in chosen]


def _studies(store: Store, source: str, kind: StudyKind) -> list[str]:
    """Return the earlier studies whose settings can be used in the new one."""
    if source == AUTO:
        return [study for study in store.list_studies() if _kind(store, study) == kind]
    if _kind(store, source) != kind:
        raise BadInput(
            f"{source!r} is {_kind(store, source)}, this study {kind}. A warm start takes the "
            "settings of the same method, distillation and objective. Name another study, or auto."
        )
    return [source]


def _kind(store: Store, study: str) -> StudyKind:
    spec = store.study(study).read_spec()
    return StudyKind(spec.method, spec.distill, spec.objective)


def _by_contribution(store: Store, study: str) -> list[Params]:
    """Return the settings of the trials on a study's front, by the hypervolume of each trial's own points."""
    found = load_front(study, store=store.root)
    records = [store.study(study).read_record(number) for number in sorted({p.trial for p in found.points})]
    volumes = {record.number: _hypervolume(found.spec, record) for record in records}
    return [record.params for record in sorted(records, key=lambda r: (-volumes[r.number], r.number))]


def _hypervolume(spec: StudySpec, record: TrialRecord) -> float:
    measured = [point.measurement for point in record.points]
    return hypervolume(np.array([_objectives(spec, each) for each in measured]), spec.reference_point)


def _objectives(spec: StudySpec, measured: Measurement) -> list[float]:
    names = {"metric", spec.second.column, spec.second.dense}
    columns = {name: getattr(measured, name) for name in names if name in vars(measured)}
    return [float(value) for value in spec.values(columns)]
