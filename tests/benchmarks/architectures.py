"""What SNIP's penalty adds to a training step on each architecture, against a plain step: a ratio.

    python -m tests.benchmarks.architectures [KIND ...]

Tiny depth, real width: 2 layers, 256 wide, 16 rows of 64 tokens. Plain and SNIP steps run in turns; medians.
"""

from __future__ import annotations

import statistics
import sys
import time
from contextlib import nullcontext

import torch

from pipeline.methods.base import Run
from pipeline.methods.registry import METHODS
from pipeline.model.architectures import ARCHITECTURES
from pipeline.study.space import TRIAL_KEYS, load_space
from pipeline.trial.conformance.networks import FAMILIES, tiny_network

STEPS, ROWS, TOKENS, WIDTH, HEADS = 9, 16, 64, 256, 4
OWN = ("num_attention_heads", "num_key_value_heads", "head_dim")


def snip() -> object:
    space = load_space("snip", file=None, pretrained=True)
    _, own = space.split(space.defaults())
    return METHODS["snip"](**{key: value for key, value in own.items() if key not in TRIAL_KEYS})


def ratio(kind: str) -> tuple[float, float]:
    """Milliseconds of a plain step, and how many times as long a step with SNIP takes."""
    grouped = "num_key_value_heads" in FAMILIES.get(kind, {})
    sizes = {"num_attention_heads": 2 * HEADS, "head_dim": WIDTH // HEADS // 2} if grouped else {}
    neurons = {"distilbert": "hidden_dim", "gpt2": "n_inner"}.get(kind, "intermediate_size")
    sides = []
    for watched in (False, True):
        shape = {"hidden_size": WIDTH, "max_position_embeddings": 2 * TOKENS, neurons: 4 * WIDTH}
        model, anatomy = tiny_network(kind, layers=2, **shape, **sizes)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
        method = snip()
        run = Run(1000, 1000, None, torch.Generator().manual_seed(0), 0.5)
        context = method.watch(model, anatomy, optimizer, run) if watched else nullcontext()
        sides.append((model, optimizer, method if watched else None, context))
    words = torch.randint(5, 100, (ROWS, TOKENS))
    batch = {"input_ids": words, "attention_mask": torch.ones_like(words)}
    times: list[list[float]] = [[], []]
    with sides[1][3]:
        for _ in range(STEPS):
            for place, (model, optimizer, method, _) in enumerate(sides):
                model.train()
                start = time.perf_counter()
                loss = model(**batch).logits.square().mean()
                if method is not None:
                    loss = loss + method.penalty(batch)
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                times[place].append(time.perf_counter() - start)
    plain, penalised = (statistics.median(each[1:]) for each in times)
    return 1000 * plain, penalised / plain


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in sys.argv[1:] or sorted(ARCHITECTURES):
        plain, times = ratio(name)
        print(f"{name:20} {plain:8.1f} ms   x {times:.3f}", flush=True)
