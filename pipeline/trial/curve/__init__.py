"""The curve of one trained network: smaller and smaller, by cutting units or zeroing weights, each step measured."""

from pipeline.trial.curve.ranking import LADDER, Ranking, UnitRanking, WeightRanking
from pipeline.trial.curve.walking import Examine, choose_in_rounds, first_changed, walk

__all__ = [
    "LADDER",
    "Examine",
    "Ranking",
    "UnitRanking",
    "WeightRanking",
    "choose_in_rounds",
    "first_changed",
    "walk",
]
