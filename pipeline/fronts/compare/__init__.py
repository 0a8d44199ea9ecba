"""Several studies, side by side: which differences are significant, and which more seeds would detect."""

from pipeline.fronts.compare.across import Standings, rank_across_tasks
from pipeline.fronts.compare.comparison import GAINS, SEED_COUNTS, Comparison, Panel, Quality, Test, compare
from pipeline.fronts.compare.groups import Entry, Group, gather, names_of
from pipeline.fronts.compare.pictures import comparison_figures, comparison_image, standings_image
from pipeline.fronts.compare.words import sentences, standings_sentences

__all__ = [
    "GAINS",
    "SEED_COUNTS",
    "Comparison",
    "Entry",
    "Group",
    "Panel",
    "Quality",
    "Standings",
    "Test",
    "compare",
    "comparison_figures",
    "comparison_image",
    "gather",
    "names_of",
    "rank_across_tasks",
    "sentences",
    "standings_image",
    "standings_sentences",
]
