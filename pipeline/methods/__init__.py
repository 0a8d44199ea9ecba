"""The table of pruning methods: one file each, behind the interface of `base`."""

from pipeline.methods.base import OneShot, PruningMethod, Run
from pipeline.methods.chance import Chance
from pipeline.methods.first_order import FirstOrder
from pipeline.methods.layerdrop import LayerDrop
from pipeline.methods.mpruner import MPruner
from pipeline.methods.snip import Snip

METHODS: dict[str, type[PruningMethod]] = {
    "chance": Chance,
    "first-order": FirstOrder,
    "layerdrop": LayerDrop,
    "mpruner": MPruner,
    "snip": Snip,
}

__all__ = ["METHODS", "OneShot", "PruningMethod", "Run"]
