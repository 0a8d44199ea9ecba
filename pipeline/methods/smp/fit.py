"""Fit the scorer of a base model to many tasks: the work of `prunefront fit-pruner`.

    tasks ─► train rows ─┐
    base model, frozen ──┴─► steps of batches × tasks ─► scorer ─► store, MLflow

The random numbers of a step depend on the seed and its number alone: a fit continues from its weights and a count.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.methods.smp.files import (
    ABOUT,
    FITTING,
    PRUNER,
    base_fingerprint,
    fit_folder,
    read_state,
    write_state,
)
from pipeline.methods.smp.smp import WIDTH, HeadScorer, meta_loss, side_of
from pipeline.model.device import device_of
from pipeline.model.folder import BUILTIN
from pipeline.model.heads import Head
from pipeline.model.resolve import check_model, resolve_model
from pipeline.model.source import ModelSource, build, tokenizer
from pipeline.study.provenance import provenance
from pipeline.study.records import BadInput
from pipeline.study.store import DEFAULT_STORE, Store
from pipeline.study.whole_file import write_whole
from pipeline.task.batches import Split
from pipeline.task.loading import Task, load_task, tokenise, train_texts

# Published (arXiv 2011.03770, the authors' README and code).
DEFAULT_STEPS = 6000
BATCH_ROWS = 60
BATCHES = 8  # per step, each of a task of its own
LEARNING_RATE = 2e-2  # of SGD, constant
CLIP_NORM = 1.0
SIZE_POWER = 0.2  # a task is drawn in proportion to its rows to this power

SAVE_S, LOG_S = 60.0, 5.0  # seconds between two states on disk, and two lines of progress
SECOND_TEXT = "text_b"

Log = Callable[[str], None]


@dataclass(frozen=True)
class Fit:
    """The options of a fit."""

    model: str
    tasks: tuple[str, ...]
    steps: int = DEFAULT_STEPS
    seed: int = 0
    store: Path = DEFAULT_STORE


@dataclass(frozen=True)
class Fitted:
    """A fitted scorer: its folder, and what is known of it."""

    folder: Path
    about: dict[str, Any]

    @property
    def files(self) -> list[Path]:
        """The weights, and what is known of them as JSON."""
        return [self.folder / PRUNER, self.folder / ABOUT]


@dataclass(frozen=True, eq=False)
class Rows:
    """One task's training rows."""

    split: Split
    pair: bool  # of texts


def fit_pruner(options: Fit, log: Log = lambda _: None) -> Fitted:
    """Fit the scorer of a base model, or go on with a fit that was interrupted or is to have more steps.

    Raises:
        BadInput: the request cannot be met; nothing has been written.
    """
    return prepare_fit(options, log)()


def prepare_fit(options: Fit, log: Log = lambda _: None) -> Callable[[], Fitted]:
    """Read and check all that a fit needs; return the fit itself.

    Interrupted, the fit keeps the last whole step.

    Raises:
        BadInput: the request cannot be met; nothing has been written.
    """
    _check(options)
    store = Store(options.store)
    store.check_writable()
    check_model(options.model)
    log("reading tasks and model")
    tasks = [load_task(name, cache=store.cache) for name in options.tasks]
    source = _source(options.model, tasks)
    fingerprint = base_fingerprint(source)
    folder = fit_folder(store, fingerprint)
    settings = _settings(options, tasks, source, fingerprint)
    state = read_state(folder / FITTING)
    if state is not None:
        _check_same(state[1]["asked"], settings, folder)

    def fit() -> Fitted:
        rows = [_rows(task, source, store) for task in tasks]
        fitting = _Fitting(source, rows, settings, folder, log)
        if state is not None:
            fitting.take_up(*state)
        fitting.run(options.steps)
        return Fitted(folder, fitting.finish())

    return fit


def _rows(task: Task, source: ModelSource, store: Store) -> Rows:
    split = tokenise(task, tokenizer(source), cache=store.cache).train
    return Rows(split, SECOND_TEXT in task.train.column_names)


def _check(options: Fit) -> None:
    if not options.tasks:
        raise BadInput(
            "--tasks names none. A scorer is fitted to one task or more. Name some: --tasks A.toml B.toml"
        )
    twice = {name for name in options.tasks if options.tasks.count(name) > 1}
    if twice:
        raise BadInput(
            f"--tasks names {', '.join(sorted(twice))} twice. Each task counts once. Leave one out."
        )
    if options.steps <= 0:
        raise BadInput(f"--steps is {options.steps}. Fitting takes at least one step.")
    if options.seed < 0:
        raise BadInput(f"--seed is {options.seed}. A seed is 0 or above.")
    if "://" in str(options.store):
        raise BadInput(f"--store is {options.store}. A scorer is fitted into a folder.")


def _source(model: str, tasks: list[Task]) -> ModelSource:
    first = tasks[0]
    source = resolve_model(
        model,
        head=Head(first.kind.output_names, first.kind.network, first.kind.problem_type),
        train_texts=[text for task in tasks for text in train_texts(task)] if model == BUILTIN else [],
    )
    for task in tasks:
        if task.max_length > source.max_length:
            raise BadInput(
                f"max_length of {task.name} is {task.max_length} tokens, and {model} has positions for "
                f"{source.max_length}. Give a smaller max_length."
            )
    return source


def _settings(options: Fit, tasks: list[Task], source: ModelSource, fingerprint: str) -> dict[str, Any]:
    """Return the settings that determine a fit, except the number of steps."""
    return {
        "model": source.name,
        "base_fingerprint": fingerprint,
        "tasks": {task.name: task.fingerprint for task in tasks},
        "seed": options.seed,
        "side": side_of(max(task.max_length for task in tasks)),
        "width": WIDTH,
        "batch_rows": BATCH_ROWS,
        "batches": BATCHES,
        "learning_rate": LEARNING_RATE,
    }


def _check_same(was: dict[str, Any], settings: dict[str, Any], folder: Path) -> None:
    differs = [
        key for key in settings if was.get(key) != settings[key] and key != "model"
    ]  # a copy may lie elsewhere
    if differs:
        facts = "; ".join(f"{key} was {was.get(key)}, requested is {settings[key]}" for key in differs)
        raise BadInput(
            f"{folder} holds a scorer that was fitted otherwise: {facts}. A base model has one in a "
            "store. Ask for what it is, remove that folder, or name another --store."
        )


@final
class _Fitting:
    """A scorer on its way; `kept` is its state after the last whole step."""

    def __init__(
        self, source: ModelSource, rows: list[Rows], settings: dict[str, Any], folder: Path, log: Log
    ) -> None:
        self.settings, self.folder, self.log, self.rows = settings, folder, log, rows
        self.device = device_of()
        seed = int(settings["seed"])
        self.model, self.anatomy = build(source, seed=seed)
        nn.Module.to(self.model, self.device).requires_grad_(requires_grad=False)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.scorer = HeadScorer(side=int(settings["side"]), width=int(settings["width"])).to(self.device)
        self.generator = torch.Generator(self.device)
        weights = np.array([len(each.split) for each in rows], dtype=np.float64) ** SIZE_POWER
        self.shares = weights / weights.sum()
        self.step, self.seconds, self.loss = 0, 0.0, float("nan")
        self.kept = _copied(self.scorer)

    def take_up(self, weights: dict[str, Any], header: dict[str, Any]) -> None:
        """Continue from what was written."""
        self.scorer.load_state_dict({name: torch.tensor(array) for name, array in weights.items()})
        self.step, self.seconds, self.loss = header["step"], header["seconds"], header["loss"]
        self.kept = _copied(self.scorer)

    def run(self, steps: int) -> None:
        """Run the steps that are missing."""
        optimizer = torch.optim.SGD(self.scorer.parameters(), lr=float(self.settings["learning_rate"]))
        self.scorer.train()
        before, started = self.seconds, time.monotonic()
        first, saved, logged = self.step, started, started
        losses: list[Tensor] = []
        try:
            while self.step < steps:
                losses.append(self._step(self.step, optimizer))
                self.kept = _copied(self.scorer)
                self.step += 1
                now = time.monotonic()
                self.seconds = before + now - started
                if now - logged >= LOG_S or self.step == steps:
                    self.loss, logged = float(torch.stack(losses).mean()), now
                    losses.clear()
                    left = (now - started) / (self.step - first) * (steps - self.step)
                    self.log(
                        f"step {self.step} of {steps}, loss {self.loss:.5f}, {left / 60:.1f} minutes left"
                    )
                if now - saved >= SAVE_S:
                    self._save()
                    saved = time.monotonic()
        finally:  # an interruption, too: the same command goes on from here
            if self.step > first:
                self._save()

    def _step(self, step: int, optimizer: torch.optim.Optimizer) -> Tensor:
        """Run one step of BATCHES batches; return its mean loss."""
        draw = np.random.default_rng([int(self.settings["seed"]), step])
        self.generator.manual_seed(int(draw.integers(2**62)))
        found: list[Tensor] = []
        for _ in range(int(self.settings["batches"])):
            rows = self.rows[int(draw.choice(len(self.rows), p=self.shares))]
            count = min(int(self.settings["batch_rows"]), len(rows.split))
            numbers = draw.choice(len(rows.split), count, replace=False, shuffle=False)
            batch = {name: value.to(self.device) for name, value in rows.split.collate(numbers).items()}
            loss = meta_loss(
                self.model, self.anatomy, self.scorer, batch, pair=rows.pair, generator=self.generator
            )
            (loss / int(self.settings["batches"])).backward()  # type: ignore[no-untyped-call]
            found.append(loss.detach())
        nn.utils.clip_grad_norm_(self.scorer.parameters(), CLIP_NORM, foreach=True)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return torch.stack(found).mean()

    def _save(self) -> None:
        header = {"asked": self.settings, "step": self.step, "seconds": self.seconds, "loss": self.loss}
        weights = {name: tensor.cpu().numpy() for name, tensor in self.kept.items()}
        write_state(self.folder / FITTING, weights, header)

    def finish(self) -> dict[str, Any]:
        """Write the fitted weights, and what is known of them."""
        about = self.settings | {"steps": self.step, "seconds": round(self.seconds, 1), "loss": self.loss}
        about["provenance"] = provenance()
        weights = {name: tensor.cpu().numpy() for name, tensor in self.kept.items()}
        write_state(self.folder / PRUNER, weights, about)
        write_whole(self.folder / ABOUT, json.dumps(about, indent=2).encode())
        return about


def _copied(scorer: HeadScorer) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in scorer.state_dict().items()}
