"""One trained network, with less and less of it, measured at every step: units cut, or single weights zeroed."""

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
