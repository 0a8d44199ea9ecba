"""The table of pruning methods: one file each, behind the interface of `base`."""

from pipeline.methods.base import OneShot, PruningMethod, Run
from pipeline.methods.chance import Chance
from pipeline.methods.dsp import Dsp
from pipeline.methods.first_order import FirstOrder
from pipeline.methods.l0 import L0
from pipeline.methods.layerdrop import LayerDrop
from pipeline.methods.mlpruning import MLPruning
from pipeline.methods.movement_block import MovementBlock
from pipeline.methods.mpruner import MPruner
from pipeline.methods.schubert import Schubert
from pipeline.methods.snip import Snip
from pipeline.methods.soft_movement_block import SoftMovementBlock

METHODS: dict[str, type[PruningMethod]] = {
    "chance": Chance,
    "dsp": Dsp,
    "first-order": FirstOrder,
    "l0": L0,
    "layerdrop": LayerDrop,
    "mlpruning": MLPruning,
    "movement-block": MovementBlock,
    "mpruner": MPruner,
    "schubert": Schubert,
    "snip": Snip,
    "soft-movement-block": SoftMovementBlock,
}

__all__ = ["METHODS", "OneShot", "PruningMethod", "Run"]
