"""What a GPU makes of it: python -m tests.benchmarks.gpu [--json FILE], 8 minutes at most on an H100.

A BERT-base shape (12 layers of 768, random weights), bf16, batches of 32 x 128: the card's measured matrix rate, and
the share of it that training reaches; SNIP's step, a curve, a cut network; 1, 2, 4, 8 trials at once. Trial bodies
run without Ray: torch, transformers and what reads rows and spaces suffice (pyarrow, scikit-learn, scipy, pydantic).
`--device cpu --tiny` runs the same on a network of two layers, for its logic alone: its numbers say nothing.
"""

from __future__ import annotations

import argparse
import copy
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import BertConfig

from pipeline.methods.base import Run
from pipeline.model.source import ModelSource, build
from pipeline.model.surgery import cut
from pipeline.task.batches import TaskData
from pipeline.trial.curve import UnitRanking
from pipeline.trial.curve.allocation import choose, removal_order
from pipeline.trial.inputs import TrialInputs
from pipeline.trial.measure import evaluate, measure
from pipeline.trial.run import CALIBRATION_BATCH
from pipeline.trial.settings import CURVE_STEPS
from pipeline.trial.training.loop import Loop
from pipeline.trial.training.phases import Phase
from pipeline.trial.training.precision import resolve_precision
from pipeline.trial.training.process import mps_runs
from pipeline.trial.training.recipe import Recipe
from pipeline.trial.trial import run_trial
from tests.benchmarks import subject
from tests.benchmarks.pairs import Row, compare, timed
from tests.kit.kinds import CLASSES

ROOT = Path(__file__).parents[2]
LEVELS = {"block": 1.05, "head": 1.15}  # SNIP's goals
CUTS = (0.5, 0.75)
AT_ONCE = (1, 2, 4, 8)
MATRIX, PRODUCTS = 8_192, 20


@dataclass(frozen=True)
class Size:
    """What is measured: a network's shape, its batches, and how often."""

    layers: int
    hidden: int
    heads: int
    batch: int
    tokens: int
    train: int
    validation: int
    matrix: int
    steps: int
    pairs: int
    at_once: tuple[int, ...]


BASE = Size(12, 768, 12, 32, 128, 3_200, 800, MATRIX, 20, 5, AT_ONCE)
TINY = Size(2, 64, 4, 8, 16, 64, 32, 256, 2, 2, (1, 2))


class LatencySetup:
    """One network on one device, and turns of work on it."""

    def __init__(self, size: Size, device: str) -> None:
        self.size, self.device = size, torch.device(device)
        config = BertConfig(
            num_hidden_layers=size.layers,
            hidden_size=size.hidden,
            num_attention_heads=size.heads,
            intermediate_size=4 * size.hidden,
            num_labels=2,
        )
        self.source = ModelSource("bert-base-shape", "", json.loads(config.to_json_string()), {}, {})
        counts = (size.train, min(512, size.train), size.validation)
        self.data = TaskData(
            *(subject.rows(n, seed=seed, tokens=size.tokens) for seed, n in enumerate(counts))
        )
        self.precision = resolve_precision("auto", self.device)
        self.model, self.anatomy = build(self.source, seed=0)
        nn.Module.to(self.model, self.device)

    def steps_s(self, model: Any, anatomy: Any, *, steps: int, params: Any = None) -> float:
        """Seconds of some training steps after two warm ones, by the training loop itself."""
        ears, warm = subject.Clock(), 2
        method = None if params is None else subject.fresh("snip", params)
        generator = torch.Generator().manual_seed(0)
        total = steps + warm
        run = None if method is None else Run(total, len(self.data.train), None, generator, threshold=0.1)
        recipe = Recipe(0.0, self.size.batch, 0.1, 0.0, self.precision, kind=CLASSES)
        Loop(model, anatomy, self.data.train, Phase("tune", 0, 0, total, 0), recipe, ears, method, run).fit()
        return ears.ends[-1] - ears.ends[warm - 1]

    def plain(self) -> float:
        """Seconds of plain steps on the dense network."""
        return self.steps_s(self.model, self.anatomy, steps=self.size.steps)

    def order(self, level: str) -> Any:
        """The units by SNIP's scores."""
        method = subject.fresh("snip", subject.defaults("snip", level=level))
        batches = self.data.calibration.in_length_order(CALIBRATION_BATCH)
        scores = method.score(self.model, self.anatomy, batches)
        return removal_order(scores, self.anatomy, score_per_parameter=False, min_attention_blocks=1)


def matrix_rate(size: int, device: torch.device) -> float:
    """Multiply-adds per second, twice counted, of square bf16 products."""
    a = torch.randn(size, size, device=device, dtype=torch.bfloat16)
    b = torch.randn(size, size, device=device, dtype=torch.bfloat16)

    def products() -> None:
        for _ in range(PRODUCTS):
            a @ b

    products()
    return 2 * size**3 * PRODUCTS / min(timed(products) for _ in range(3))


def rates(bench: LatencySetup) -> Iterator[Row]:
    """The card's rate of products, and the share of it that plain and SNIP steps reach: encoder products alone."""
    size = bench.size
    rate = matrix_rate(size.matrix, bench.device)
    yield _row("rate", f"bf16 products of {size.matrix}", rate / 1e12, unit="TFLOP/s")
    macs = bench.anatomy.costs.macs(bench.anatomy.present, size.tokens)
    flops = 3 * 2 * macs * size.batch * size.steps  # the backward pass has twice the forward pass's
    bench.plain()
    took = min(bench.plain() for _ in range(3))
    what = f"{bench.precision} training, {size.batch} x {size.tokens}"
    yield _row("rate", what, took / size.steps * 1_000, unit="ms a step")
    yield _row("rate", f"{what}: share of it", flops / took / rate, unit="")


def steps(bench: LatencySetup) -> Iterator[Row]:
    """SNIP's step against a plain one, with its bound and without."""
    size = bench.size
    for level, goal in LEVELS.items():
        for bound in ("relative", "off"):
            params = subject.defaults("snip", level=level, spectral_bound=bound)
            yield compare(
                "step",
                f"snip, {level} level, bound {bound}",
                turn=lambda params=params: bench.steps_s(
                    bench.model, bench.anatomy, steps=size.steps, params=params
                ),
                against=bench.plain,
                base=f"{size.steps} plain steps",
                pairs=size.pairs,
                goal=goal,
            )


def curves(bench: LatencySetup) -> Iterator[Row]:
    """A curve over all of validation against an epoch."""
    size, goals = bench.size, {"block": 0.5, "head": 1.0}

    def examine(network: Any, parts: Any) -> Any:
        found = evaluate(
            network,
            bench.data.validation,
            CLASSES,
            precision=bench.precision,
        )
        return found, measure(network, parts, found, length=size.tokens)

    epoch = size.train // size.batch
    for level, goal in goals.items():
        ranking = UnitRanking(bench.order(level), anatomy=bench.anatomy)
        networks = ranking.steps(most=CURVE_STEPS)

        def walk(ranking: Any = ranking, networks: Any = networks) -> None:
            list(ranking.walk(bench.model, networks, examine))

        yield compare(
            "curve",
            f"{level} level, {len(networks)} networks x {size.validation} rows",
            turn=lambda walk=walk: timed(walk),
            against=bench.plain,
            base=f"an epoch of {size.train:,} rows",
            pairs=max(2, size.pairs // 2),
            goal=goal,
            scale=size.steps / epoch,
        )


def cuts(bench: LatencySetup) -> Iterator[Row]:
    """A step of a cut network against one of the dense network."""
    size = bench.size
    for level in LEVELS:
        order = bench.order(level)
        for target in CUTS:
            step = choose(order, bench.anatomy, target=target)
            small, parts = copy.deepcopy((bench.model, bench.anatomy))
            parts = cut(small, parts, step.masks)
            yield compare(
                "recovery",
                f"{level} level, {step.compression:.0%} cut",
                turn=lambda small=small, parts=parts: bench.steps_s(small, parts, steps=size.steps),
                against=bench.plain,
                base=f"{size.steps} dense steps",
                pairs=size.pairs,
            )


def packing(bench: LatencySetup, options: list[str]) -> Iterator[Row]:
    """Trials per second, several at once in processes of their own, against one alone."""
    mps = "with MPS" if mps_runs() else "without MPS"
    alone = 0.0
    for count in bench.size.at_once:
        seconds, peaks = _at_once(count, options)
        rate = count / seconds
        alone = alone or rate
        what = f"{count} at once, {mps}: trials a second / one alone"
        peak = f"{seconds:.1f} s, {max(peaks):,.0f} MB each"
        yield Row("packing", what, rate / alone, rate / alone, rate / alone, 1, peak)


def _at_once(count: int, options: list[str]) -> tuple[float, list[float]]:
    """(seconds from when all are ready until the last has ended, the peak of each in MB)."""
    command = [sys.executable, "-m", "tests.benchmarks.gpu", "--body", *options]
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        for _ in range(count)
    ]
    for process in running:
        if process.stdout is None or process.stdout.readline().strip() != "ready":
            raise RuntimeError(f"A benchmark's process ended early: {command}")
    start = time.perf_counter()
    for process in running:
        if process.stdin is not None:
            process.stdin.write("go\n")
            process.stdin.flush()
    outputs = [process.communicate()[0] for process in running]
    took = time.perf_counter() - start
    if any(process.returncode for process in running):
        raise RuntimeError(f"A benchmark's process failed: {command}")
    return took, [float(output) for output in outputs]


def body(bench: LatencySetup) -> None:
    """What the processes run: a whole trial of one epoch and one, once they are told to; prints its peak in MB."""
    length = bench.size.tokens
    inputs = TrialInputs("snip", CLASSES, "auto", length, bench.source, bench.data)
    params = subject.defaults("snip", tune_epochs=1.0, recover_epochs=1.0, batch_size=bench.size.batch)
    bench.steps_s(bench.model, bench.anatomy, steps=1)  # kernels are loaded, as in a used actor
    print("ready", flush=True)
    sys.stdin.readline()
    run_trial(inputs, subject.job(params), lambda _: None)
    cuda = bench.device.type == "cuda"
    print(torch.cuda.max_memory_reserved() / 1e6 if cuda else 0.0)


def _row(benchmark: str, what: str, value: float, *, unit: str) -> Row:
    return Row(benchmark, what, value, value, value, 1, "", unit=unit)


def main() -> None:
    """Prints rows as they are found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--tiny", action="store_true", help="for its logic alone")
    parser.add_argument("--json", type=Path, help="write the rows there")
    parser.add_argument("--body", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    torch.set_num_threads(1 if chosen.device == "cpu" else torch.get_num_threads())
    bench = LatencySetup(TINY if chosen.tiny else BASE, chosen.device)
    if chosen.body:
        body(bench)
        return
    options = ["--device", chosen.device] + ["--tiny"] * chosen.tiny
    start, rows = time.monotonic(), []
    name = torch.cuda.get_device_name() if chosen.device == "cuda" else "cpu"
    print(f"{name}, torch {torch.__version__}, {bench.precision}", flush=True)
    for part in (rates(bench), steps(bench), curves(bench), cuts(bench), packing(bench, options)):
        for row in part:
            rows.append(asdict(row))
            spread = f"{row.low:.3f} … {row.high:.3f}" if row.pairs > 1 else ""
            goal = "" if row.goal is None else f"goal {row.goal:g}"
            print(
                f"{row.benchmark:9} {row.what:56} {row.ratio:9.3f} {row.unit:9} {spread:15} {goal:10} {row.base}",
                flush=True,
            )
        if chosen.json is not None:
            chosen.json.write_text(json.dumps({"device": name, "rows": rows}, indent=2))
    print(f"{time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
