"""A study from its spec to its front: what `prunefront search` and `pipeline.search` run."""

from pipeline.driver.search.budget import Budget
from pipeline.driver.search.check import check
from pipeline.driver.search.dense import default_name, dense_recipe, find_peak, make_inputs, timed_shapes
from pipeline.driver.search.request import ALL, Search
from pipeline.driver.search.run import run, search
from pipeline.driver.search.seeds import run_seeds
from pipeline.driver.search.watcher import NEVER, SearchProgress, SilentWatcher, Watcher

__all__ = [
    "ALL",
    "NEVER",
    "Budget",
    "Search",
    "SearchProgress",
    "SilentWatcher",
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
