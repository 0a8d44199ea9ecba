"""The curve of one trained network: smaller and smaller, by cutting units or zeroing weights, each step measured."""

from pipeline.trial.curve.ranking import LADDER, Ranking, UnitRanking, WeightRanking
from pipeline.trial.curve.uniform import UniformRanking, is_uniform, uniform_groups
from pipeline.trial.curve.walking import Examine, choose_in_rounds, first_changed, walk

__all__ = [
    "LADDER",
    "Examine",
    "Ranking",
    "UniformRanking",
    "UnitRanking",
    "WeightRanking",
    "choose_in_rounds",
    "first_changed",
    "is_uniform",
    "uniform_groups",
    "walk",
]
