"""Parts on networks: curves, cuts, and where a whole trial's time goes."""

from __future__ import annotations

import copy
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from pipeline.model.surgery import cut
from pipeline.study.records import Ask
from pipeline.task.batches import TaskData
from pipeline.trial import components
from pipeline.trial import trial as whole
from pipeline.trial.curve import UnitRanking
from pipeline.trial.curve.allocation import removal_order
from pipeline.trial.inputs import TrialInputs
from pipeline.trial.job import TrialJob
from pipeline.trial.measure import evaluate, measure
from pipeline.trial.run import TrialRun
from pipeline.trial.training.precision import autocast
from pipeline.trial.trial import run_trial
from tests.benchmarks import subject
from tests.benchmarks.gpu.bench import BATCH, CLASSES, Bench

OF_A_RUN = ("train", "rank", "cut", "measure")


def curves(bench: Bench) -> None:
    """A curve of SST-2's lengths by heads: first and second walk against an epoch."""
    train, validation = subject.rows(bench.rows, seed=0), subject.rows(bench.rows // 4, seed=2)
    for name, shape in bench.shapes.items():
        network = bench.network(shape)
        snip = subject.fresh("snip", subject.defaults("snip", level="head"))
        scores: Any = snip.score(*network, subject.rows(64, seed=1).in_length_order(64))
        order = removal_order(scores, network[1], score_per_parameter=False, min_attention_blocks=1)
        ranking = UnitRanking(order, anatomy=network[1])
        steps = ranking.steps(most=4 if bench.tiny else 32)

        def look(model: Any, anatomy: Any) -> Any:
            found = evaluate(model, validation, CLASSES, precision=bench.precision)
            return found, measure(model, anatomy, found, length=128)

        walk = partial(lambda r, n, s, look: list(r.walk(n[0], s, look)), ranking, network, steps, look)
        first, second = bench.timed(walk, 1), bench.timed(walk, 1)
        epoch = bench.step_ms(network, train) / 1e3 * (bench.rows // BATCH)
        what = f"{name}, by heads, {len(steps)} networks"
        bench.say("curve", what, first_s=first, second_s=second, epoch_s=epoch, ratio=second / epoch)


def cuts(bench: Bench) -> None:
    """Speed-up of a cut network / its MACs' ratio; neurons odd, in eights and in 64s; eager and as a graph."""
    model, anatomy = bench.network(next(iter(bench.shapes.values())))
    model.eval()
    draw = torch.Generator().manual_seed(0)
    for rows, tokens in ((2, 16),) if bench.tiny else ((32, 128), (1, 128)):
        for keep in (0.5, 0.25):
            for multiple in (1, 8, 64):
                masks = copy.deepcopy(anatomy.present)
                neurons = round(keep * anatomy.neurons_per_layer)
                neurons = neurons | 1 if multiple == 1 else max(multiple, neurons // multiple * multiple)
                for layer in range(anatomy.dense_layers):
                    _keep(masks.heads[layer], max(1, round(keep * anatomy.heads_per_layer)), draw)
                    _keep(masks.neurons[layer], neurons, draw)
                small, parts = copy.deepcopy((model, anatomy))
                parts = cut(small, parts, masks)
                macs = anatomy.costs.macs(anatomy.present, tokens) / anatomy.costs.macs(parts.present, tokens)
                for graph in (False, True) if bench.cuda else (False,):
                    timed = [
                        tuple(_forward_s(bench, each, rows, tokens, graph=graph) for each in (model, small))
                        for _ in range(3)
                    ]
                    up = statistics.median(dense / less for dense, less in timed)
                    what = f"{rows}x{tokens}, {keep:.0%} kept, neurons in {multiple}s"
                    how = "graph" if graph else "eager"
                    bench.say("cut", f"{what}, {how}", speed_up=up, macs_ratio=macs, share=up / macs)


def _keep(mask: Any, count: int, draw: torch.Generator) -> None:
    mask[:] = False
    mask[torch.randperm(len(mask), generator=draw)[:count].numpy()] = True


def _forward_s(bench: Bench, model: Any, rows: int, tokens: int, *, graph: bool) -> float:
    ids = torch.randint(1000, 20000, (rows, tokens), device=bench.device)
    with torch.inference_mode(), autocast(bench.device, "bf16"):
        go: Callable[[], object] = lambda: model(input_ids=ids)  # noqa: E731
        bench.timed(go, 3)
        if graph:
            captured = torch.cuda.CUDAGraph()
            with torch.cuda.graph(captured):
                go()
            go = captured.replay
        return bench.timed(go)


def inputs_of(bench: Bench, shape: dict[str, int]) -> TrialInputs:
    """What a trial is given."""
    counts = (bench.rows, min(512, bench.rows), bench.rows // 4)
    data = TaskData(*(subject.rows(count, seed=seed) for seed, count in enumerate(counts)))
    length = int(data.validation.lengths.max())
    encoder = bench.network(shape)[0].state_dict()
    weights = {name: each.cpu().numpy() for name, each in encoder.items() if name.startswith("bert.")}
    source = replace(bench.source(shape), weights=weights)
    return TrialInputs("snip", CLASSES, "auto", length, source, data, device=bench.device.type)


def trials(bench: Bench) -> None:
    """A whole trial twice in one process: seconds of build, training, ranking, cut, measuring, saving."""
    for name, shape in bench.shapes.items():
        inputs, spent = inputs_of(bench, shape), Counter[str]()

        def clocked(what: str, work: Any, spent: Counter[str] = spent) -> Any:
            def run(*args: Any, **more: Any) -> Any:
                bench.sync()
                before = time.perf_counter()
                found = work(*args, **more)
                bench.sync()
                spent[what] += time.perf_counter() - before  # type: ignore[assignment]
                return found

            return run

        with ExitStack() as stack:
            for what in OF_A_RUN:
                stack.enter_context(patch.object(TrialRun, what, clocked(what, getattr(TrialRun, what))))
            stack.enter_context(patch.object(components, "build", clocked("build", components.build)))
            stack.enter_context(patch.object(whole, "save_weights", clocked("save", whole.save_weights)))
            for turn in ("first", "second"):
                spent.clear()
                with tempfile.TemporaryDirectory() as folder:
                    epochs = 0.2 if bench.tiny else 2.0
                    params = subject.defaults(
                        "snip", tune_epochs=epochs, recover_epochs=epochs, batch_size=BATCH
                    )
                    job = TrialJob(Ask(0, params, 0), (Path(folder),), checkpoint_s=1e9)
                    took = bench.timed(
                        lambda job=job, inputs=inputs: run_trial(inputs, job, lambda _: None), 1
                    )
                bench.say("trial", f"{name}, {turn}", seconds=took, **spent)
