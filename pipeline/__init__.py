"""prunefront: how small and fast a fine-tuned encoder can get, and what that costs in accuracy.

Words. A *study* is one task × one model × one method × one search space: many *trials*, each one draw of
parameters run to its end. A *unit* is a removable part: head, neuron, attention block, ffn block, layer. A
*score* says what a unit is worth to keep (higher = keep), a *mask* which units stay, a *cut* makes the network
physically smaller, to *recover* is to train on after it. A *curve* is what one trained network gives when its
threshold is swept, without training again. *Compression* is removed / dense encoder parameters. The *front* is
the points that no other point dominates, in the task's *metric* (higher = better) and compression.

Flow. A task gives rows, a model a network and its anatomy, a TOML a space. In each trial: (tune – score – curve
– choose – cut) × rounds – recover – measure. The trial's record goes into the store; the driver tells the
ledger (an Optuna study: the truth about which trials exist) and publishes to MLflow. A front is read from the
store alone.

    from pipeline import search, load_front
    front = search(task="glue/sst2", model="bert-base-uncased", trials=32)
    for point in front.points: print(point.compression, point.metric, point.params)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.driver.search.api import search
    from pipeline.driver.search.request import Search
    from pipeline.export.checkpoint import load, load_tokenizer
    from pipeline.fronts.front import Front, FrontPoint, load_front
    from pipeline.fronts.pick import pick
    from pipeline.study.records import BadInput, TrialRecord

__all__ = [
    "BadInput",
    "Front",
    "FrontPoint",
    "Search",
    "TrialRecord",
    "load",
    "load_front",
    "load_tokenizer",
    "pick",
    "search",
]

_ROOMS = {
    "BadInput": "study.records",
    "Front": "fronts.front",
    "FrontPoint": "fronts.front",
    "Search": "driver.search.request",
    "TrialRecord": "study.records",
    "load": "export.checkpoint",
    "load_front": "fronts.front",
    "load_tokenizer": "export.checkpoint",
    "pick": "fronts.pick",
    "search": "driver.search.api",
}


def __getattr__(name: str) -> Any:
    """Imports a name when it is first used: reading a front needs no torch."""
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"pipeline.{_ROOMS[name]}"), name)
