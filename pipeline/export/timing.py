"""How long an exported network takes beside its dense one: in turns, so that what a machine does meets both."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from pipeline.provenance import provenance

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MILLISECONDS = 1000.0
SECONDS = 4.0  # no new round begins after them
LEAST_ROUNDS, MOST_ROUNDS = 5, 40


@dataclass(frozen=True)
class Timing:
    """Medians of one forward pass in ms, fp32, without padding and tokenisation; `speedup` of the pairs' ratios."""

    ms: float
    spread_ms: float  # between the quartiles
    dense_ms: float
    speedup: float
    device: str
    threads: int
    batch: int
    length: int


def time_against_dense(model: PreTrainedModel, dense: PreTrainedModel, *, batch: int, length: int) -> Timing:
    """Times both on the CPU, with as many threads as PyTorch has here.

    Args:
        model: in eval mode, on the CPU.
        dense: the same before the cut; its weights do not matter.
        batch: rows at once.
        length: tokens of a row.
    """
    generator = torch.Generator().manual_seed(0)
    vocabulary = int(model.config.vocab_size)
    tokens = torch.randint(vocabulary // 2, vocabulary, (batch, length), generator=generator)
    inputs = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    with torch.inference_mode():
        pairs = in_turns(lambda: model(**inputs), lambda: dense(**inputs), seconds=SECONDS)
    low, middle, high = np.quantile(pairs[:, 0], [0.25, 0.5, 0.75])
    return Timing(
        ms=float(middle),
        spread_ms=float(high - low),
        dense_ms=float(np.median(pairs[:, 1])),
        speedup=float(np.median(pairs[:, 1] / pairs[:, 0])),
        device=provenance()["cpu"],
        threads=torch.get_num_threads(),
        batch=batch,
        length=length,
    )


def in_turns(first: Callable[[], object], second: Callable[[], object], *, seconds: float) -> np.ndarray:
    """[rounds, 2] in ms, after a round that does not count."""
    pairs: list[tuple[float, float]] = []
    end = time.perf_counter() + seconds
    while len(pairs) <= MOST_ROUNDS and (len(pairs) <= LEAST_ROUNDS or time.perf_counter() < end):
        pairs.append((_once(first), _once(second)))
    return np.array(pairs[1:])


def _once(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return MILLISECONDS * (time.perf_counter() - start)
