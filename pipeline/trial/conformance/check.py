"""All laws together, and `check_method`, which checks a method against them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields as fields_of
from dataclasses import is_dataclass

from pipeline.methods.base import PruningMethod
from pipeline.methods.registry import METHODS
from pipeline.model.anatomy import find_architecture
from pipeline.study.records import Array, ParamValue
from pipeline.study.space import TRIAL_KEYS, load_space
from pipeline.trial.conformance.laws import (
    nothing_is_left_behind_after_watch,
    permuting_heads_permutes_scores,
    score_changes_nothing,
    score_leaves_nothing_behind_when_it_fails,
    scores_after_a_cut_are_those_of_what_is_left,
    scores_fit_the_anatomy_and_are_finite,
    state_is_tensors_that_a_file_can_hold,
    the_penalty_is_a_finite_scalar_and_back_propagates,
    the_same_seed_gives_the_same_scores,
)
from pipeline.trial.conformance.networks import STRUCTURES
from pipeline.trial.conformance.subject import Subject, require
from pipeline.trial.conformance.training_laws import (
    a_second_round_goes_on_from_the_first_ones_cut,
    activation_checkpointing_changes_nothing,
    interrupted_and_continued_gives_the_same_scores,
    no_step_waits_for_the_device,
    replayed_steps_train_as_eager_ones,
)


def its_fields_are_the_keys_of_its_space(subject: Subject) -> None:
    """Check the dataclass's fields against the keys of its TOML, if the method has a name."""
    name = _name_of(subject.method)
    if name is None:
        return
    space = load_space(name, file=None, pretrained=True)
    _, own = space.split(space.defaults())
    names: set[str] = set()
    if is_dataclass(subject.method):
        names = {each.name for each in fields_of(subject.method) if each.init}
    require(set(own) - set(TRIAL_KEYS) == names, subject, "A method's fields are the keys of its space")


LAWS: tuple[Callable[[Subject], None], ...] = (
    its_fields_are_the_keys_of_its_space,
    scores_fit_the_anatomy_and_are_finite,
    scores_after_a_cut_are_those_of_what_is_left,
    the_same_seed_gives_the_same_scores,
    score_changes_nothing,
    score_leaves_nothing_behind_when_it_fails,
    nothing_is_left_behind_after_watch,
    the_penalty_is_a_finite_scalar_and_back_propagates,
    permuting_heads_permutes_scores,
    interrupted_and_continued_gives_the_same_scores,
    activation_checkpointing_changes_nothing,
    no_step_waits_for_the_device,
    replayed_steps_train_as_eager_ones,
    a_second_round_goes_on_from_the_first_ones_cut,
    state_is_tensors_that_a_file_can_hold,
)


def check_method(
    method: type[PruningMethod] | str,
    fields: Mapping[str, ParamValue] | None = None,
    *,
    draws: bool = False,
    ranks: bool = False,
    fitted: Mapping[str, Array] | None = None,
) -> None:
    """Check a pruning method against all laws, on tiny networks: some seconds.

    Args:
        method: its name, or its class.
        fields: values of its fields; by default those of its space, if it is installed. Check each form that it has.
        draws: whether its scores are drawn at random by a unit's number; permuted heads then have other scores.
        ranks: whether its scores are ranks; nearly equal ones may change places by rounding.
        fitted: what `equip` is given, of a method that needs a fit.

    Raises:
        AssertionError: a law does not hold; the message is the law.
        BadInput: the method is installed, and its space cannot be read.
    """
    subject = subject_of(method, fields, draws=draws, ranks=ranks, fitted=fitted)
    for law in LAWS:
        law(subject)


def subject_of(
    method: type[PruningMethod] | str,
    fields: Mapping[str, ParamValue] | None = None,
    *,
    draws: bool = False,
    ranks: bool = False,
    fitted: Mapping[str, Array] | None = None,
) -> Subject:
    """Return what the laws are checked on; the arguments are those of `check_method`."""
    if isinstance(method, str):
        method = METHODS[method]
    name = _name_of(method)
    by_threshold = False
    if name is not None:
        space = load_space(name, file=None, pretrained=True)
        by_threshold = "threshold" in space.keys
        if fields is None:
            _, own = space.split(space.defaults())
            fields = {key: value for key, value in own.items() if key not in TRIAL_KEYS}
    architectures = tuple(
        kind for kind in STRUCTURES if find_architecture(kind).plain_scores or not method.needs_plain_scores
    )
    return Subject(method, fields or {}, by_threshold, draws, ranks, fitted, architectures)


def _name_of(method: type[PruningMethod]) -> str | None:
    """Return the name by which a method is found; None if no entry point names it."""
    return next((name for name in METHODS if METHODS[name] is method), None)
