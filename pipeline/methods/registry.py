"""The table of pruning methods, by name."""

from pipeline.methods.base import OneShot, PruningMethod, Unstructured
from pipeline.methods.chance import Chance, ChanceWeights
from pipeline.methods.deepcuts import DeepCuts, DeepCutsLifted
from pipeline.methods.dsp import Dsp
from pipeline.methods.first_order import FirstOrder
from pipeline.methods.l0 import L0
from pipeline.methods.layerdrop import LayerDrop
from pipeline.methods.magnitude import Magnitude, MagnitudeLifted
from pipeline.methods.mgpp import Mgpp, MgppLifted
from pipeline.methods.mlpruning import MLPruning
from pipeline.methods.movement import Movement
from pipeline.methods.movement_block import MovementBlock
from pipeline.methods.mpruner import MPruner
from pipeline.methods.platon import Platon, PlatonLifted
from pipeline.methods.schubert import Schubert
from pipeline.methods.smp import Smp
from pipeline.methods.snip import Snip
from pipeline.methods.soft_movement import SoftMovement
from pipeline.methods.soft_movement_block import SoftMovementBlock

METHODS: dict[str, type[PruningMethod]] = {
    "chance": Chance,
    "chance-weights": ChanceWeights,
    "deepcuts": DeepCuts,
    "deepcuts-lifted": DeepCutsLifted,
    "dsp": Dsp,
    "first-order": FirstOrder,
    "l0": L0,
    "layerdrop": LayerDrop,
    "magnitude": Magnitude,
    "magnitude-lifted": MagnitudeLifted,
    "mgpp": Mgpp,
    "mgpp-lifted": MgppLifted,
    "mlpruning": MLPruning,
    "movement": Movement,
    "movement-block": MovementBlock,
    "mpruner": MPruner,
    "platon": Platon,
    "platon-lifted": PlatonLifted,
    "schubert": Schubert,
    "smp": Smp,
    "snip": Snip,
    "soft-movement": SoftMovement,
    "soft-movement-block": SoftMovementBlock,
}


def ranks_weights(method: str) -> bool:
    """Whether a method, by its name, ranks single weights: they are set to zero, and its objective is sparsity."""
    return issubclass(METHODS[method], Unstructured)


def in_one_round(method: str) -> bool:
    """Whether a method, by its name, sets weights to zero gradually while it watches: that fills the whole tuning."""
    return ranks_weights(method) and not issubclass(METHODS[method], OneShot)
