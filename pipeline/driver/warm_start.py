"""Settings to begin a search with: those on the fronts of earlier studies that did well on most of their tasks.

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
    """What studies share whose settings mean the same."""

    method: str
    distill: str
    objective: str

    def __str__(self) -> str:
        distilled = "" if self.distill == "none" else f"+{self.distill}"
        return f"{self.method}{distilled} against {self.objective}"


def warm_starts(store: Store, wanted: str, *, kin: StudyKind, space: Space) -> list[Params]:
    """Settings for the first trials of a study, best first; at most MOST.

    Args:
        store: that holds the earlier studies.
        wanted: the name of one, or AUTO: all of the same method, distillation and objective.
        kin: what the study is that is to begin.
        space: its space. Settings that it fixes are as it says; earlier settings outside its ranges are left out.

    Raises:
        BadInput: there is no such study, it is of another method, or none has settings that the space admits.
    """
    studies = _studies(store, wanted, kin)
    found: dict[str, Params] = {}
    ranks: list[Ranked] = []
    for study in studies:
        ranked: Ranked = {}
        for params in _by_worth(store, study):
            fitted = space.fitted(params)
            if fitted is not None:
                text = json.dumps(fitted, sort_keys=True)
                found.setdefault(text, fitted)
                ranked.setdefault(text, len(ranked) + 1.0)
        if ranked:
            ranks.append(ranked)
    if not found:
        raise BadInput(
            f"A warm start takes settings from the fronts of earlier studies; {store.root} has {len(studies)} of {kin}"
            + (", and none on their fronts is one that the space of this study admits" if studies else "")
            + ". Leave --warm-start out, or name another study."
        )
    return [found[text] for text in greedy(ranks, most=MOST)]


def greedy(ranks: Sequence[Ranked], *, most: int) -> list[str]:
    """Settings that together have a good one for every study: each makes the mean of the best ranks fall most.

    Settings that a study has not seen have a rank behind all of its own. Equal ones by their mean rank, then by text.
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


def _studies(store: Store, wanted: str, kin: StudyKind) -> list[str]:
    """The earlier studies whose settings mean the same in the new one."""
    if wanted == AUTO:
        return [study for study in store.list_studies() if _kin(store, study) == kin]
    if _kin(store, wanted) != kin:
        raise BadInput(
            f"A warm start takes the settings of the same method, distillation and objective; {wanted!r} is "
            f"{_kin(store, wanted)}, this study {kin}. Name another study, or auto."
        )
    return [wanted]


def _kin(store: Store, study: str) -> StudyKind:
    spec = store.study(study).read_spec()
    return StudyKind(spec.method, spec.distill, spec.objective)


def _by_worth(store: Store, study: str) -> list[Params]:
    """The settings of the trials on a study's front, by the hypervolume of all that a trial alone gave."""
    found = load_front(study, store=store.root)
    records = [store.study(study).read_record(number) for number in sorted({p.trial for p in found.points})]
    worth = {record.number: _worth(found.spec, record) for record in records}
    return [record.params for record in sorted(records, key=lambda r: (-worth[r.number], r.number))]


def _worth(spec: StudySpec, record: TrialRecord) -> float:
    measured = [point.measurement for point in record.points]
    return hypervolume(np.array([_objectives(spec, each) for each in measured]), spec.reference_point)


def _objectives(spec: StudySpec, measured: Measurement) -> list[float]:
    names = {"metric", spec.second.column, spec.second.dense}
    columns = {name: getattr(measured, name) for name in names if name in vars(measured)}
    return [float(value) for value in spec.values(columns)]
