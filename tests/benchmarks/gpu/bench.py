"""What the parts share: shapes, rows, the clock, and where numbers go."""

from __future__ import annotations

import gc
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import BertConfig

from pipeline.methods.base import Run
from pipeline.model.anatomy import Anatomy
from pipeline.model.source import ModelSource, build
from pipeline.trial.training.loop import Listener, Loop, LoopState
from pipeline.trial.training.phases import Phase
from pipeline.trial.training.precision import resolve_precision
from pipeline.trial.training.recipe import Recipe
from pipeline.trial.training.stacked import StackedTraining
from pipeline.trial.training.step_graphs import EAGER_STEPS, TIMED_STEPS
from tests.benchmarks import subject

CLASSES = subject.CLASSES
BERT_BASE = {
    "num_hidden_layers": 12,
    "hidden_size": 768,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
}
MINI_LM = {
    "num_hidden_layers": 6,
    "hidden_size": 384,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
}
TINY = {"num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 256}
BATCH = 32
Network = tuple[Any, Anatomy]


class TimeUp(Exception):  # noqa: N818 (a fact)
    """No more numbers are begun."""


@dataclass
class Bench:
    """One device, and the numbers found on it."""

    device: torch.device
    tiny: bool
    file: Path | None
    seconds: float
    found: list[dict[str, Any]] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    @property
    def cuda(self) -> bool:
        """Whether it is a GPU."""
        return self.device.type == "cuda"

    @property
    def name(self) -> str:
        """The device's."""
        return torch.cuda.get_device_name(self.device) if self.cuda else "cpu"

    @property
    def precision(self) -> Any:
        """That trials have here."""
        return resolve_precision("auto", self.device)

    @property
    def shapes(self) -> dict[str, dict[str, int]]:
        """Networks by name."""
        return {"tiny": TINY} if self.tiny else {"BERT-base": BERT_BASE, "MiniLM": MINI_LM}

    @property
    def lengths(self) -> dict[str, int | None]:
        """Of rows."""
        tokens = 16 if self.tiny else 128
        return {f"{tokens} tokens, none padded": tokens, "SST-2's lengths": None}

    @property
    def rows(self) -> int:
        """Of training."""
        return 96 if self.tiny else 3_200

    @property
    def steps(self) -> int:
        """That are timed together."""
        return 2 if self.tiny else 30

    @property
    def warm(self) -> int:
        """Steps before: so many that graphs are settled for the three lengths of SST-2's rows."""
        return 1 if self.tiny else 3 * (EAGER_STEPS + 2 * TIMED_STEPS)

    def say(self, part: str, what: str, **values: Any) -> None:
        """Note a number; raise TimeUp if it is late."""
        at_s = round(time.monotonic() - self.started, 1)
        self.found.append({"part": part, "what": what, "at_s": at_s} | values)
        print(json.dumps(self.found[-1]), flush=True)
        if self.file is not None:
            self.file.write_text(json.dumps(self.found, indent=1))
        if at_s > self.seconds and "time is up" not in what:
            raise TimeUp

    def sync(self) -> None:
        """Wait for the device."""
        if self.cuda:
            torch.cuda.synchronize(self.device)

    def clean(self) -> None:
        """Give memory back."""
        gc.collect()
        if self.cuda:
            torch.cuda.empty_cache()

    def source(self, shape: dict[str, int]) -> ModelSource:
        """A model of random weights."""
        config = BertConfig(num_labels=3, **shape)
        return ModelSource("x", "", json.loads(config.to_json_string()), {}, {})

    def network(self, shape: dict[str, int]) -> Network:
        """One on the device."""
        model, anatomy = build(self.source(shape), seed=0)
        nn.Module.to(model, self.device)
        return model, anatomy

    def timed(self, work: Callable[[], object], times: int | None = None) -> float:
        """Seconds of one call, of so many in a row, waited for once."""
        times = self.steps if times is None else times
        self.sync()
        before = time.perf_counter()
        for _ in range(times):
            work()
        self.sync()
        return (time.perf_counter() - before) / times

    def step_ms(
        self,
        network: Network,
        split: Any,
        snip: dict[str, str] | None = None,
        *,
        graphs: bool = True,
        **more: Any,
    ) -> float:
        """Ms of a training step in the loop itself, waited for at the first and last one alone."""
        steps, warm = more.get("steps", self.steps), more.get("warm", self.warm)
        ears = _Ears(self, warm, warm + steps, more.get("each"))
        loop = self.loop(network, split, snip, ears, steps=steps + warm)
        if not graphs:
            loop._make_step = lambda: loop._eager  # type: ignore[method-assign]
        loop.fit()
        self.step_facts = loop.facts()
        return 1e3 * (ears.at[warm + steps] - ears.at[warm]) / steps

    def stack_ms(self, networks: list[Network], split: Any, snip: dict[str, str] | None = None) -> float:
        """Ms of a training step of several networks as one stack, each with batches and a method of its own."""
        steps, warm = self.steps, self.warm
        ears = _Ears(self, warm, warm + steps, None)
        loops = [
            self.loop(network, split, snip, ears if seed == 0 else Listener(), steps=steps + warm, seed=seed)
            for seed, network in enumerate(networks)
        ]
        StackedTraining(loops).fit()
        return 1e3 * (ears.at[warm + steps] - ears.at[warm]) / steps

    def loop(
        self,
        network: Network,
        split: Any,
        snip: dict[str, str] | None,
        ears: Listener,
        *,
        steps: int,
        seed: int = 0,
    ) -> Loop:
        """A training of one network."""
        method = None if snip is None else subject.fresh("snip", subject.defaults("snip", **snip))
        generator = torch.Generator().manual_seed(0)
        run = None if method is None else Run(steps, len(split), None, generator, threshold=0.1)
        recipe = Recipe(1e-5, BATCH, 0.1, 0.01, self.precision, kind=CLASSES)
        return Loop(*network, split, Phase("tune", 0, 0, steps, seed), recipe, ears, method, run)

    def pairs(self, turn: Callable[[], float], base: Callable[[], float]) -> dict[str, float]:
        """Both in turns: medians, and the ratio with its range."""
        turn(), base()
        found = []
        for number in range(1 if self.tiny else 3):
            found.append((turn(), base()) if number % 2 else (base(), turn())[::-1])
        ratios = [a / b for a, b in found]
        return {
            "ms": statistics.median(a for a, _ in found),
            "base_ms": statistics.median(b for _, b in found),
            "ratio": statistics.median(ratios),
            "low": min(ratios),
            "high": max(ratios),
        }


class _Ears(Listener):
    def __init__(self, bench: Bench, first: int, last: int, each: Callable[[int], None] | None) -> None:
        self.at: dict[int, float] = {}
        self._bench, self._marks, self._each, self._done = bench, (first, last), each, 0

    def on_step(self, state: Callable[[], LoopState]) -> None:
        del state
        self._done += 1
        if self._done in self._marks:
            self._bench.sync()
            self.at[self._done] = time.perf_counter()
        if self._each is not None:
            self._each(self._done)
