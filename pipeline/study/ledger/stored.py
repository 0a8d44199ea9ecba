"""What is stored of a study and of a trial in Optuna's storage.

Of Optuna's storages five methods are used beside `create_study` (create_new_trial, get_all_trials,
set_trial_user_attr, set_trial_state_values, and numbers to ids), because a Study has no way to write a running
trial whole.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import optuna
from optuna.exceptions import OptunaError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from pipeline.study.ledger.backends import Backend
from pipeline.study.ledger.frozen import is_pending, refuse_difference, same_but_anchors
from pipeline.study.ledger.guarded import GuardedWrites
from pipeline.study.ledger.storage import LeaseLost, LedgerLost, cannot_open
from pipeline.study.ledger.transaction import REASON, REDUNDANT
from pipeline.study.records import OBJECTIVES, BadInput, StudySpec

# User attributes. Of a study:
SPEC = "spec"  # the StudySpec as a dict, frozen
FORMAT_KEY = "format"  # of all that is written here; absent: 1
METRIC_NAMES = "study:metric_names"  # Optuna's own: other programs show the two values by them
# Of a trial:
PARAMS = "params"  # all its parameters. A trial without them was not completely drawn, and never counts
SAMPLER = "sampler"  # what the sampler noted about the study when it drew this trial
NONCE = "nonce"  # of the draw: a trial whose commit was not answered is recognised by it

FORMAT = 1  # counts up when something is written in a way that older programs would misread


@dataclass(frozen=True)
class Outcome:
    """How a trial ended, in Optuna's terms: `values` are the objectives of a COMPLETE trial."""

    state: TrialState
    values: tuple[float, ...] | None
    reason: str
    redundant: bool = False


def directions() -> list[Literal["maximize", "minimize"]]:
    """Return the directions of the stored values, (metric, gain): both are maximised, whatever the objectives are."""
    return [OBJECTIVES["metric"].direction, "maximize"]


def open_study(backend: Backend, spec: StudySpec, write: GuardedWrites, *, url: str) -> BaseStorage:
    """Open the storage of the ledger at `url` with the study in it, created and frozen to `spec` if it is new.

    What it writes is checked by `write`, as all later writes are.

    Raises:
        BadInput: the storage cannot be opened, or it holds another study of that name.
        LeaseLost, LedgerLost: it may not write, or the database stopped answering.
    """
    try:
        storage = backend.open(spec.name)
        backend.guard(storage, write.before, "" if write.lease is None else write.lease.token)
        study = _study(storage, spec.name)
        frozen = study.user_attrs.get(SPEC)
        is_anothers = frozen is not None and _of_another_search(
            StudySpec.late_fields() | frozen, asdict(spec)
        )
        if is_anothers and write.lease is not None:
            # its search ended before its dense network was trained, and this is another one
            with write():
                optuna.delete_study(study_name=spec.name, storage=storage)
            study, frozen = _study(storage, spec.name), None
        if frozen is None and not study.get_trials(deepcopy=False):
            frozen = asdict(spec)  # the study is new, or its maker died before this line
            with write():
                # as Study.set_metric_names, which warns that it is experimental
                storage.set_study_system_attr(
                    study._study_id, METRIC_NAMES, [spec.metric_name, spec.second.short]
                )
                study.set_user_attr(FORMAT_KEY, FORMAT)
                study.set_user_attr(SPEC, frozen)
        written = int(study.user_attrs.get(FORMAT_KEY, FORMAT))
    except (LeaseLost, LedgerLost):
        raise
    except (SQLAlchemyError, OptunaError, ImportError, OSError, RuntimeError, ValueError) as error:
        raise cannot_open(url, error) from None  # the chain would show the URL with its password
    if written > FORMAT:
        raise BadInput(
            f"{spec.name!r} in this ledger has format {written}, and this prunefront knows up to "
            f"{FORMAT}. Install a newer one, or give another --name."
        )
    if frozen is None:
        raise BadInput(
            f"{spec.name!r} in this ledger has trials but no spec of ours. A study is continued by "
            "the program that made it. Give another --name."
        )
    refuse_difference(StudySpec.late_fields() | frozen, asdict(spec))
    return storage


def freeze(storage: BaseStorage, study_id: int, spec: StudySpec) -> None:
    """Write the spec of a study whose dense network is trained now."""
    storage.set_study_user_attr(study_id, SPEC, asdict(spec))


def _of_another_search(frozen: dict[str, Any], requested: dict[str, Any]) -> bool:
    return is_pending(frozen) and not same_but_anchors(frozen, requested)


def _study(storage: BaseStorage, name: str) -> optuna.Study:
    try:
        return optuna.load_study(storage=storage, study_name=name)  # which writes nothing
    except KeyError:
        return optuna.create_study(
            storage=storage, study_name=name, directions=directions(), load_if_exists=True
        )


def is_asked(trial: FrozenTrial) -> bool:
    """Return whether all of a trial's parameters are stored."""
    return trial.user_attrs.get(PARAMS) is not None


def write_end(storage: BaseStorage, study_id: int, number: int, end: Outcome) -> None:
    """End a trial. The state is written last: before that, the trial still runs.

    Raises:
        optuna.exceptions.UpdateFinishedTrialError: the trial has ended already.
    """
    row = storage.get_trial_id_from_study_id_trial_number(study_id, number)
    if end.reason:
        storage.set_trial_user_attr(row, REASON, end.reason)
    if end.redundant:
        storage.set_trial_user_attr(row, REDUNDANT, True)
    storage.set_trial_state_values(row, end.state, end.values)
