"""Parts on training: waits, steps, ways of one step, stacked trials."""

from __future__ import annotations

import statistics
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.model.device import forms_of_a_gpu
from pipeline.task.attention_masks import with_mask
from pipeline.task.batches import encoder_inputs
from tests.benchmarks import subject
from tests.benchmarks.gpu.bench import BATCH, Bench

SNIP = {
    f"{level}, bound {bound}": {"level": level, "spectral_bound": bound}
    for level in ("head", "block")
    for bound in ("off", "relative")
}


def waits(bench: Bench) -> None:
    """Every place that makes the host wait in one eager step, plain and SNIP's; none is the goal."""
    network = bench.network(list(bench.shapes.values())[-1])
    split = subject.rows(bench.rows, seed=0)
    for name, snip in ({"plain": None} | SNIP).items():

        def each(step: int) -> None:
            if bench.cuda and step in (3, 4):
                torch.cuda.set_sync_debug_mode("warn" if step == 3 else "default")

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            bench.step_ms(network, split, snip, graphs=False, steps=4, warm=2, each=each)
        places = Counter(
            f"{Path(w.filename).name}:{w.lineno}" for w in caught if "synchroniz" in str(w.message)
        )
        bench.say("waits", name, sites=places)


def steps(bench: Bench) -> None:
    """Ms of a step; share of the card's rate; kernels and busy ms; graphs against eager steps; SNIP against plain."""
    rate = _rate(bench)
    bench.say("step", "bf16 products", tflops=rate / 1e12)
    for shape_name, shape in bench.shapes.items():
        network = bench.network(shape)
        _, anatomy = network
        for length, tokens in bench.lengths.items():
            split = subject.rows(bench.rows, seed=0, tokens=tokens)

            def plain(split: Any = split, network: Any = network, *, graphs: bool = True) -> float:
                return bench.step_ms(network, split, graphs=graphs)

            found = bench.pairs(plain, lambda plain=plain: plain(graphs=False))
            share = {}
            if tokens:
                flops = 6 * anatomy.costs.macs(anatomy.present, tokens) * BATCH
                share = {"share_of_rate": flops / (found["ms"] / 1e3) / rate}
            what = f"{shape_name}, {length}"
            plain()
            bench.say("step", f"{what}: graph / eager", **found, **share, **bench.step_facts)

            def deterministic(plain: Any = plain) -> float:
                torch.use_deterministic_algorithms(True, warn_only=True)
                try:
                    return plain()
                finally:
                    torch.use_deterministic_algorithms(False)

            bench.say("step", f"{what}: deterministic / not", **bench.pairs(deterministic, plain))
            for name, snip in SNIP.items():
                turn = lambda snip=snip, split=split, network=network: bench.step_ms(network, split, snip)  # noqa: E731
                bench.say("step", f"{what}: snip {name} / plain", **bench.pairs(turn, plain))
            if bench.cuda:
                bench.say("step", f"{what}: profile of eager steps", **_profile(bench, network, split))


def _rate(bench: Bench) -> float:
    """Multiplications and additions a second, of square bf16 products."""
    size, times = (256, 2) if bench.tiny else (8192, 30)
    a, b = (torch.randn(size, size, device=bench.device, dtype=torch.bfloat16) for _ in range(2))
    bench.timed(lambda: a @ b, times)
    return 2 * size**3 / statistics.median(bench.timed(lambda: a @ b, times) for _ in range(3))


def _profile(bench: Bench, network: Any, split: Any) -> dict[str, float]:
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
        bench.step_ms(network, split, graphs=False, steps=10, warm=2)
    kernels = [e for e in seen.events() if e.device_type == torch.autograd.DeviceType.CUDA]
    return {
        "kernels_a_step": len(kernels) / 12,
        "busy_ms_a_step": sum(e.device_time for e in kernels) / 12e3,
    }


def ways(bench: Bench) -> None:
    """The same plain step by hand: masks of three kinds, the whole step as a graph, compiled."""
    for shape_name, shape in bench.shapes.items():
        for rows, tokens in ((8, 16),) if bench.tiny else ((32, 128), (32, 16)):
            real = torch.ones(rows, tokens, dtype=torch.long)
            real[1:, -2:] = 0
            ids = torch.randint(1000, 20000, (rows, tokens))
            batch = {"input_ids": ids, "attention_mask": real}
            made = with_mask(batch, dtype=torch.bfloat16, additive=True)
            masks = {"2-d mask": batch, "made mask": made, "no mask": {"input_ids": ids}}
            for way in (*masks, *(("graph", "compiled", "reduce-overhead") if bench.cuda else ())):
                inputs = encoder_inputs(masks.get(way, made))
                what = f"{shape_name} {rows}x{tokens}, {way}"
                try:
                    bench.say("ways", what, **_way(bench, shape, way, inputs))
                except RuntimeError as error:
                    bench.say("ways", what, failed=f"{type(error).__name__}: {str(error)[:200]}")
                torch.compiler.reset()
                bench.clean()


def _way(bench: Bench, shape: dict[str, int], way: str, inputs: dict[str, Tensor]) -> dict[str, float]:
    model = bench.network(shape)[0].train()
    given = {name: value.to(bench.device) for name, value in inputs.items()}
    labels = torch.randint(0, 2, (len(given["input_ids"]),), device=bench.device)
    parameters = list(model.parameters())
    rate = torch.tensor(1e-5, device=bench.device) if bench.cuda else 1e-5
    optimizer = torch.optim.AdamW(parameters, lr=rate, fused=True, capturable=bench.cuda)
    mode = "reduce-overhead" if way == "reduce-overhead" else None
    compiled = way in ("compiled", "reduce-overhead")
    forward = torch.compile(model, dynamic=False, mode=mode) if compiled else model

    def step() -> None:
        with torch.autocast(bench.device.type, dtype=torch.bfloat16):
            logits = forward(**given).logits
        nn.functional.cross_entropy(logits.float(), labels).backward()
        nn.utils.clip_grad_norm_(parameters, 1.0, foreach=True)
        optimizer.step()
        optimizer.zero_grad(set_to_none=way != "graph")

    began = time.perf_counter()
    go = _captured(step) if way == "graph" else step
    bench.timed(go, 3)
    first = time.perf_counter() - began
    return {"ms": 1e3 * bench.timed(go), "first_s": first}


def _captured(step: Any) -> Any:
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def stacks(bench: Bench) -> None:
    """K trials as one stack: ms of a step of all, and that / the step of one alone."""
    shape = list(bench.shapes.values())[-1]
    split = subject.rows(bench.rows, seed=0)
    for name, snip in {"plain": None, "snip by heads": {"level": "head"}}.items():
        alone = bench.step_ms(bench.network(shape), split, snip)
        for count in (2,) if bench.tiny else (2, 4, 8, 16):
            with forms_of_a_gpu():  # a CPU's own have no rule for vmap
                ms = bench.stack_ms([bench.network(shape) for _ in range(count)], split, snip)
            bench.say(
                "stack", f"{count} trials, {name}, a step of all", ms=ms, alone_ms=alone, ratio=ms / alone
            )
            bench.clean()
