"""A study from its spec to its front: what `prunefront search` and `pipeline.search` run."""

from pipeline.sweep.budget import Budget
from pipeline.sweep.checking import check
from pipeline.sweep.preparing import default_name, dense_recipe, find_peak, make_inputs, timed_shapes
from pipeline.sweep.running import run, search
from pipeline.sweep.seeds import run_seeds
from pipeline.sweep.wanted import ALL, Search
from pipeline.sweep.watching import NEVER, Nobody, Standing, Watcher

__all__ = [
    "ALL",
    "NEVER",
    "Budget",
    "Nobody",
    "Search",
    "Standing",
    "Watcher",
    "check",
    "default_name",
    "dense_recipe",
    "find_peak",
    "make_inputs",
    "run",
    "run_seeds",
    "search",
    "timed_shapes",
]
