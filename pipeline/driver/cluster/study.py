"""The search that a study of the store is, asked for again."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from pathlib import Path

from pipeline.driver.search import Search
from pipeline.model.resolve import BUILTIN
from pipeline.study.records import BadInput, StudySpec
from pipeline.study.space import load_space
from pipeline.study.store import Store, place_text

HUB_COMMIT = "@"  # a fingerprint ends with it and the commit, of a model from the hub
# What is asked anew each time; all else is the study's.
FREE = {
    "trials",
    "minutes",
    "gpu_hours",
    "until_hypervolume_flat",
    "scheduler",
    "store",
    "ledger",
    "tracking",
}
FREE |= {"resources", "take_over", "latency_grid", "trust_remote_code", "checkpoint_seconds", "warm_start"}
FREE |= {"keep_weights", "activation_checkpointing"}
_OF_SPEC = {field.name for field in fields(StudySpec)} - {
    "task",
    "model",
}  # which are names there, not places


def search_of(study: str, wanted: Search) -> Search:
    """What would go on with a study: `wanted` is what was asked beside it, budgets and places.

    Raises:
        BadInput: there is no such study, its task is not known, or something is asked that the study is not.
    """
    store = Store(wanted.store)
    files = store.study(study)
    spec, task = files.read_spec(), files.task.read()
    if task is None:
        raise BadInput(
            f"A study's task is noted beside it; {study!r} has no task.json. Give the search's own options instead."
        )
    folder = spec.model != BUILTIN and HUB_COMMIT not in spec.model_fingerprint
    if folder and wanted.model == BUILTIN:
        raise BadInput(
            f"The model of {study!r} is a folder ({spec.model}) whose place is not noted. Give it by --model."
        )
    frozen = {field.name: getattr(spec, field.name) for field in fields(Search) if field.name in _OF_SPEC}
    frozen |= {"model": wanted.model if folder else spec.model, "space": _space(store, spec), "start": None}
    own = replace(wanted, **frozen, **asdict(task))
    usual = Search()
    for field in fields(Search):
        asked, its = getattr(wanted, field.name), getattr(own, field.name)
        if field.name not in FREE and asked not in (getattr(usual, field.name), its):
            raise BadInput(
                f"A study's name stands for one spec; --{field.name.replace('_', '-')} is {str(asked)!r}, and "
                f"{study!r} has {str(its)!r}. Leave it out, or ask for another study by the search's options."
            )
    return own


def _space(store: Store, spec: StudySpec) -> Path | None:
    """The study's own space, unless it is the packaged one."""
    packaged = load_space(spec.method, file=None, pretrained=spec.model != BUILTIN, distill=spec.distill).toml
    if packaged == spec.space_toml:
        return None
    if store.bucket is not None:
        raise BadInput(
            f"A search reads its space from a file; that of {spec.name!r} is in {place_text(store.place)}. Put it "
            "where the driver reads it, and give the search's own options with --space instead of the study."
        )
    return store.study(spec.name).folder / "space.toml"
