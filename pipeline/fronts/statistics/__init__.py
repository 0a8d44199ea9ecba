"""How sure a mean, a difference, a rank or a front is. numpy and scipy only; every formula names its source."""

from pipeline.fronts.statistics.attainment import attained, attainment_curve, metric_at
from pipeline.fronts.statistics.means import (
    LEVEL,
    POWER,
    Difference,
    Interval,
    detectable,
    holm,
    interval,
    paired,
    welch,
)
from pipeline.fronts.statistics.ranks import Ranking, cliques, critical_difference, rank
from pipeline.fronts.statistics.rows import row_bootstrap, scores_on_resamples

__all__ = [
    "LEVEL",
    "POWER",
    "Difference",
    "Interval",
    "Ranking",
    "attained",
    "attainment_curve",
    "cliques",
    "critical_difference",
    "detectable",
    "holm",
    "interval",
    "metric_at",
    "paired",
    "rank",
    "row_bootstrap",
    "scores_on_resamples",
    "welch",
]
