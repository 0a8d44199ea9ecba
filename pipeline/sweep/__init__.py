"""A study from its spec to its front: what `prunefront search` and `pipeline.search` run."""

from pipeline.sweep.preparing import make_inputs
from pipeline.sweep.running import run, search
from pipeline.sweep.seeds import run_seeds
from pipeline.sweep.wanted import Search
from pipeline.sweep.watching import NEVER, Nobody, Standing, Watcher

__all__ = ["NEVER", "Nobody", "Search", "Standing", "Watcher", "make_inputs", "run", "run_seeds", "search"]
