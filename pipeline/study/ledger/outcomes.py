"""How a trial ended: its record, in Optuna's terms."""

from __future__ import annotations

import math

from optuna.trial import FrozenTrial, TrialState

from pipeline.study.ledger.stored import Outcome
from pipeline.study.ledger.transaction import REASON, REDUNDANT
from pipeline.study.records import StudySpec, TrialRecord

NEVER_ASKED = Outcome(TrialState.FAIL, None, "its parameters are incomplete: the driver died in asking")


def outcome_of(record: TrialRecord, spec: StudySpec) -> Outcome:
    """Return a record's outcome. Only a finite point is ever COMPLETE."""
    if record.state == "stopped":
        return Outcome(TrialState.PRUNED, None, record.reason, record.redundant)
    if record.state == "failed":
        return Outcome(TrialState.FAIL, None, record.reason)
    if record.recovered is None:
        return Outcome(TrialState.FAIL, None, "it ended without a recovered point")
    values = tuple(spec.values(vars(record.recovered.measurement)).tolist())
    names = ("metric", spec.objective)
    wrong = [f"{name} is {v}" for name, v in zip(names, values, strict=True) if not math.isfinite(v)]
    if wrong:
        return Outcome(TrialState.FAIL, None, "; ".join(wrong))
    return Outcome(TrialState.COMPLETE, values, record.reason)


def check_same(number: int, end: Outcome, trial: FrozenTrial) -> None:
    """Refuse another outcome for a trial that has ended.

    Raises:
        ValueError: with both outcomes.
    """
    values = None if trial.values is None else tuple(trial.values)
    was = Outcome(
        trial.state, values, trial.user_attrs.get(REASON, ""), trial.user_attrs.get(REDUNDANT, False)
    )
    if was != end:
        raise ValueError(
            f"A trial ends once; trial {number} ended as {was.state.name} {was.values} {was.reason!r} and is "
            f"reported as {end.state.name} {end.values} {end.reason!r}."
        )
