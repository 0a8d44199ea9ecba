"""The search that would go on with a study of the store."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from pathlib import Path

from pipeline.driver.search.option import options_of
from pipeline.driver.search.request import Search
from pipeline.model.folder import BUILTINS
from pipeline.study.records import BadInput, StudySpec
from pipeline.study.space import load_space
from pipeline.study.store import Store, place_text

HUB_COMMIT = "@"  # a fingerprint ends with it and the commit, of a model from the hub
# Options that may differ at every start; all others are the study's.
FREE = {
    *("trials", "minutes", "gpu_hours", "until_hypervolume_flat", "scheduler", "warm_start"),
    *("store", "ledger", "tracking", "also", "take_over", "checkpoint_seconds", "keep_weights"),
    *("concurrent", "cpus_per_trial", "gpus_per_trial", "address", "latency_grid"),
    *("trust_remote_code", "activation_checkpointing"),
}
# The spec has names of task and model, not their places.
_OF_SPEC = {field.name for field in fields(StudySpec)} - {"task", "model"}


def search_of(study: str, request: Search) -> Search:
    """Return the search that would go on with a study.

    Args:
        study: its name.
        request: the options given beside it: budgets and places.

    Raises:
        BadInput: there is no such study, its task is not known, or an option contradicts the study.
    """
    store = Store(request.store)
    files = store.study(study)
    spec, task = files.read_spec(), files.task.read()
    if task is None:
        raise BadInput(
            f"{study!r} has no task.json. A study's task is noted beside it. Give the search's own "
            "options instead."
        )
    folder = spec.model not in BUILTINS and HUB_COMMIT not in spec.model_fingerprint
    if folder and request.model in BUILTINS:
        raise BadInput(
            f"The model of {study!r} is a folder ({spec.model}) whose place is not noted. Give it by --model."
        )
    options = options_of(Search)
    frozen = {each.name: getattr(spec, each.name) for each in options if each.name in _OF_SPEC}
    frozen |= {"model": request.model if folder else spec.model, "space": _space(store, spec), "start": None}
    own = replace(request, **frozen, **asdict(task))
    usual = Search()  # an option that is left out has what it would have in a search without any
    for option in options:
        given, its = getattr(request, option.name), getattr(own, option.name)
        if option.name not in FREE and given not in (getattr(usual, option.name), its):
            raise BadInput(
                f"{option.flag} is {str(given)!r}, and the study {study!r} was begun with "
                f"{str(its)!r}. Leave it out, or name another study by the search's options."
            )
    return own


def _space(store: Store, spec: StudySpec) -> Path | None:
    """Return the file of the study's space; None if it is the packaged one."""
    packaged = load_space(
        spec.method,
        file=None,
        pretrained=spec.model not in BUILTINS,
        distill=spec.distill,
        family=BUILTINS.get(spec.model, ""),
    ).toml
    if packaged == spec.space_toml:
        return None
    if store.bucket is not None:
        raise BadInput(
            f"The space of {spec.name!r} is in {place_text(store.place)}, and a search reads it from "
            "a file. Put it where the driver reads it, and give the search's own options with "
            "--space instead of the study."
        )
    return store.study(spec.name).folder / "space.toml"
