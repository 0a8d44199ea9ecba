"""The table of pruning methods: one file each, behind the interface of `base`."""

from pipeline.methods.base import OneShot, PruningMethod, Run
from pipeline.methods.chance import Chance
from pipeline.methods.deepcuts import DeepCutsLifted
from pipeline.methods.dsp import Dsp
from pipeline.methods.first_order import FirstOrder
from pipeline.methods.l0 import L0
from pipeline.methods.layerdrop import LayerDrop
from pipeline.methods.magnitude import MagnitudeLifted
from pipeline.methods.mgpp import MgppLifted
from pipeline.methods.mlpruning import MLPruning
from pipeline.methods.movement_block import MovementBlock
from pipeline.methods.mpruner import MPruner
from pipeline.methods.platon import PlatonLifted
from pipeline.methods.schubert import Schubert
from pipeline.methods.smp import Smp
from pipeline.methods.snip import Snip
from pipeline.methods.soft_movement_block import SoftMovementBlock

METHODS: dict[str, type[PruningMethod]] = {
    "chance": Chance,
    "deepcuts-lifted": DeepCutsLifted,
    "dsp": Dsp,
    "first-order": FirstOrder,
    "l0": L0,
    "layerdrop": LayerDrop,
    "magnitude-lifted": MagnitudeLifted,
    "mgpp-lifted": MgppLifted,
    "mlpruning": MLPruning,
    "movement-block": MovementBlock,
    "mpruner": MPruner,
    "platon-lifted": PlatonLifted,
    "schubert": Schubert,
    "smp": Smp,
    "snip": Snip,
    "soft-movement-block": SoftMovementBlock,
}

__all__ = ["METHODS", "OneShot", "PruningMethod", "Run"]
