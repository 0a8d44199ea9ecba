"""What SNIP's penalty adds to a training step on each architecture, against a plain step: a ratio.

    python -m tests.benchmarks.architectures [KIND ...]

Tiny depth, real width: 2 layers, 256 wide, 16 rows of 64 tokens (images: 64 patches and what stands before them). Plain
and SNIP steps run in turns, in changing order; medians of the pairs' ratios and their quartiles, of CPU time.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import torch

from pipeline.methods.base import PruningMethod, Run
from pipeline.methods.registry import METHODS
from pipeline.model.anatomy import find_architecture
from pipeline.model.architectures import ARCHITECTURES
from pipeline.model.image_inputs import IMAGES, image_shape
from pipeline.study.space import TRIAL_KEYS, load_space
from pipeline.trial.conformance.networks import FAMILIES, tiny_network
from tests.benchmarks.pairs import Row, Turn, compare, timed

NAME = "architectures"
PAIRS, ROWS, TOKENS, WIDTH, HEADS = 15, 16, 64, 256, 4
IMAGE = {"image_size": 32}  # 8 x 8 patches of 4 x 4


def measure(kinds: list[str]) -> Iterator[Row]:
    """Rows for the table."""
    for kind in kinds:
        with ExitStack() as watching:
            plain, watched = (_step(kind, method, watching) for method in (None, _snip()))
            yield compare(NAME, kind, turn=watched, against=plain, base="a plain step", pairs=PAIRS)


def _snip() -> PruningMethod:
    space = load_space("snip", file=None, pretrained=True)
    _, own = space.split(space.defaults())
    return METHODS["snip"](**{key: value for key, value in own.items() if key not in TRIAL_KEYS})


def _step(kind: str, method: PruningMethod | None, watching: ExitStack) -> Turn:
    """A training step of a network of its own; a method watches it until `watching` ends."""
    model, anatomy = tiny_network(kind, layers=2, **_shape(kind))
    batch = _batch(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    run = Run(1000, 1000, None, torch.Generator().manual_seed(0), 0.5)
    if method is not None:
        watching.enter_context(method.watch(model, anatomy, optimizer, run))
    model.train()

    def step() -> None:
        loss = model(**batch).logits.square().mean()
        if method is not None:
            loss = loss + method.penalty(batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return lambda: timed(step)


def _shape(kind: str) -> dict[str, Any]:
    own = FAMILIES.get(kind, {})
    sizes = {"hidden_size": WIDTH, find_architecture(kind).neurons: 4 * WIDTH}
    if "num_key_value_heads" in own:
        sizes |= {"num_attention_heads": 2 * HEADS, "head_dim": WIDTH // HEADS // 2}
    return sizes | (IMAGE if "image_size" in own else {"max_position_embeddings": 2 * TOKENS})


def _batch(model: Any) -> dict[str, torch.Tensor]:
    if model.main_input_name == IMAGES:
        return {IMAGES: torch.rand(ROWS, *image_shape(model.config))}
    words = torch.randint(5, 100, (ROWS, TOKENS))
    return {"input_ids": words, "attention_mask": torch.ones_like(words)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    for row in measure(sys.argv[1:] or sorted(ARCHITECTURES)):
        print(f"{row.what:20} x {row.ratio:.3f} ({row.low:.3f} … {row.high:.3f})   {row.base}", flush=True)
