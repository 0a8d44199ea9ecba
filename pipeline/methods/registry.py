"""The table of pruning methods, by name: those of this package, and those that other packages bring.

A class is imported when its name is looked up. Methods of other packages are entry points of the group
`prunefront.methods` (pipeline/study/entry_points.py); a name of this package's own stays its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import cast

from pipeline.methods.base import OneShot, PruningMethod, Unstructured
from pipeline.study.entry_points import METHODS as GROUP
from pipeline.study.entry_points import load_entry, names_in
from pipeline.study.records import BadInput

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
                f"An entry point in {GROUP} names a subclass of prunefront.PruningMethod; {name!r} is {found!r}. "
                "Correct it in its package's pyproject.toml."
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
