"""The table of pruning methods, by name: those of this package, and those that other packages bring.

A class is imported when its name is looked up. Methods of other packages are entry points of the group
`prunefront.methods` (pipeline/study/entry_points.py); a name of this package's own stays its own.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import cast

from pipeline.methods.base import OneShot, PruningMethod, Unstructured
from pipeline.study.entry_points import METHODS as GROUP
from pipeline.study.entry_points import load_entry, names_in
from pipeline.study.nearest import did_you_mean
from pipeline.study.records import BadInput
from pipeline.study.space import load_space

PACKAGED: dict[str, tuple[str, str]] = {  # name -> file or folder in methods/, class
    "chance": ("chance", "Chance"),
    "chance-weights": ("chance", "ChanceWeights"),
    "deepcuts": ("deepcuts", "DeepCuts"),
    "deepcuts-lifted": ("deepcuts", "DeepCutsLifted"),
    "dsp": ("dsp", "Dsp"),
    "first-order": ("first_order", "FirstOrder"),
    "fisher": ("fisher", "Fisher"),
    "l0": ("l0", "L0"),
    "layerdrop": ("layerdrop", "LayerDrop"),
    "magnitude": ("magnitude", "Magnitude"),
    "magnitude-lifted": ("magnitude", "MagnitudeLifted"),
    "mgpp": ("mgpp", "Mgpp"),
    "mgpp-lifted": ("mgpp", "MgppLifted"),
    "mlpruning": ("mlpruning", "MLPruning"),
    "movement": ("movement", "Movement"),
    "movement-block": ("movement_block", "MovementBlock"),
    "mpruner": ("mpruner", "MPruner"),
    "obs": ("obs", "Obs"),
    "platon": ("platon", "Platon"),
    "platon-lifted": ("platon", "PlatonLifted"),
    "schubert": ("schubert", "Schubert"),
    "smp": ("smp", "Smp"),
    "snip": ("snip", "Snip"),
    "soft-movement": ("soft_movement", "SoftMovement"),
    "soft-movement-block": ("soft_movement_block", "SoftMovementBlock"),
}


TUNED = (
    "snip",
    "chance",
    "chance-weights",
)  # whose defaults were tuned here; others have their papers', or guesses


@dataclass(frozen=True)
class MethodFacts:
    """What a method is, for choosing one.

    Attributes:
        name: as for `search --method`.
        ranks: what it orders: units, layers, or single weights, which are set to zero.
        trains: whether it acts on the steps of training; else it looks at the trained network, once.
        needs_fit: whether something is fitted to the base model first (`prunefront fit-pruner`).
        tuned: whether its defaults were tuned here.
        source: its publication.
        about: the whole description of its file.
    """

    name: str
    ranks: str
    trains: bool
    needs_fit: bool
    tuned: bool
    source: str
    about: str


class Registry(Mapping[str, type[PruningMethod]]):
    """All methods by name; a class is imported when it is looked up."""

    def __getitem__(self, name: str) -> type[PruningMethod]:
        """Return a method's class.

        Raises:
            KeyError: no such method.
            BadInput: another package brings it, and it cannot be imported or is no method.
        """
        if name in PACKAGED:
            module, class_name = PACKAGED[name]
            return cast(
                "type[PruningMethod]", getattr(import_module(f"pipeline.methods.{module}"), class_name)
            )
        found = load_entry(GROUP, name)
        if found is None:
            raise KeyError(name)
        if not (isinstance(found, type) and issubclass(found, PruningMethod)):
            raise BadInput(
                f"The entry point {name!r} in {GROUP} is {found!r}, and no subclass of "
                "prunefront.PruningMethod. Correct it in its package's pyproject.toml."
            )
        return found

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names, sorted."""
        return iter(sorted({*PACKAGED, *names_in(GROUP)}))

    def __len__(self) -> int:
        """Return how many methods there are."""
        return len({*PACKAGED, *names_in(GROUP)})

    def __contains__(self, name: object) -> bool:
        """Return whether there is a method of that name, without importing it."""
        return name in PACKAGED or name in names_in(GROUP)


METHODS = Registry()


def ranks_weights(method: str) -> bool:
    """Return whether a method ranks single weights: they are set to zero, and its objective is sparsity."""
    return issubclass(METHODS[method], Unstructured)


def looks_only(method: str) -> bool:
    """Return whether a method only looks at a trained network: it needs no step of training, and no fit."""
    found = METHODS[method]
    return issubclass(found, OneShot) and not found.needs_fit


def in_one_round(method: str) -> bool:
    """Return whether a method sets weights to zero gradually while it watches: that fills the whole tuning."""
    return ranks_weights(method) and not issubclass(METHODS[method], OneShot)


def facts_of(name: str) -> MethodFacts:
    """Return what a method is.

    Raises:
        BadInput: there is no such method.
    """
    if name not in METHODS:
        raise BadInput(
            f"There is no method {name!r}.{did_you_mean(name, METHODS)} There are {', '.join(METHODS)}."
        )
    method = METHODS[name]
    about = inspect.cleandoc(sys.modules[method.__module__].__doc__ or method.__doc__ or "")
    return MethodFacts(
        name=name,
        ranks=_ranks(name),
        trains=not issubclass(method, OneShot),
        needs_fit=method.needs_fit,
        tuned=name in TUNED,
        source=about.partition("\n\n")[0].replace("\n", " "),
        about=about,
    )


def _ranks(name: str) -> str:
    if ranks_weights(name):
        return "single weights (set to zero)"
    levels = load_space(name, file=None, pretrained=True).defaults().get("level")
    return {
        None: "units",
        "block": "blocks",
        "neuron": "heads and neurons",
        "head": "heads and ffn blocks",
        "head-only": "heads",
        "layer": "layers",
    }.get(None if levels is None else str(levels), str(levels))
