"""prunefront: how small and fast a fine-tuned encoder can get, and what that costs in accuracy.

Words. A *study* is one task × one model × one method × one search space: many *trials*, each one draw of
parameters run to its end. A *unit* is a removable part: head, neuron, attention block, ffn block, layer. A
*score* says what a unit is worth to keep (higher = keep), a *mask* which units stay, a *cut* makes the network
physically smaller, to *recover* is to train on after it. A *curve* is what one trained network gives when its
threshold is swept, without training again. *Compression* is removed / dense encoder parameters. The *front* is
the points that no other point dominates, in the task's *metric* (higher = better) and compression.

Flow. A task gives rows, a model a network and its anatomy, a TOML a space. In each trial: (tune – score – curve
– choose – cut) × rounds – recover – measure. The trial's record goes into the store; the driver writes its outcome to
the ledger (an Optuna study: the truth about which trials exist) and publishes it to MLflow. A front is read from the
store alone.

    from prunefront import load_front, search
    front = search(task="glue/sst2", model="bert-base-uncased", trials=32)
    for point in front.points: print(point.compression, point.metric, point.params)

These names are all that is public. `prunefront` has the same, and `export`, which here is a wing. Each is imported on
first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.driver.search.api import search
    from pipeline.driver.search.request import Search
    from pipeline.export.checkpoint import load, load_tokenizer
    from pipeline.export.confirm import ConfirmResult, confirm
    from pipeline.export.export import Exported
    from pipeline.fronts.compare import Comparison, sentences
    from pipeline.fronts.compare.studies import compare
    from pipeline.fronts.confirmed import Confirmed
    from pipeline.fronts.front import Front, FrontPoint, load_front
    from pipeline.fronts.pick import pick
    from pipeline.methods.base import OneShot, PruningMethod, Run, Unstructured
    from pipeline.model.layer_parts import matrix
    from pipeline.study.records import (
        Anchors,
        BadInput,
        Masks,
        Measurement,
        Point,
        Scores,
        StudySpec,
        TrialRecord,
    )
    from pipeline.trial.conformance import check_method

__version__ = "0.1.0"  # pyproject.toml reads it here

_MODULES = {
    "Anchors": "study.records",
    "BadInput": "study.records",
    "Comparison": "fronts.compare",
    "ConfirmResult": "export.confirm",
    "Confirmed": "fronts.confirmed",
    "Exported": "export.export",
    "Front": "fronts.front",
    "FrontPoint": "fronts.front",
    "Masks": "study.records",
    "Measurement": "study.records",
    "OneShot": "methods.base",
    "Point": "study.records",
    "PruningMethod": "methods.base",
    "Run": "methods.base",
    "Scores": "study.records",
    "Search": "driver.search.request",
    "StudySpec": "study.records",
    "TrialRecord": "study.records",
    "Unstructured": "methods.base",
    "check_method": "trial.conformance",
    "compare": "fronts.compare.studies",
    "confirm": "export.confirm",
    "load": "export.checkpoint",
    "load_front": "fronts.front",
    "load_tokenizer": "export.checkpoint",
    "matrix": "model.layer_parts",
    "pick": "fronts.pick",
    "search": "driver.search.api",
    "sentences": "fronts.compare",
}
__all__ = [
    "Anchors",
    "BadInput",
    "Comparison",
    "ConfirmResult",
    "Confirmed",
    "Exported",
    "Front",
    "FrontPoint",
    "Masks",
    "Measurement",
    "OneShot",
    "Point",
    "PruningMethod",
    "Run",
    "Scores",
    "Search",
    "StudySpec",
    "TrialRecord",
    "Unstructured",
    "check_method",
    "compare",
    "confirm",
    "load",
    "load_front",
    "load_tokenizer",
    "matrix",
    "pick",
    "search",
    "sentences",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use: reading a front needs no torch."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"pipeline.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
