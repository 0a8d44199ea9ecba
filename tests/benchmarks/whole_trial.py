"""A whole SNIP trial against the same training and predictions done otherwise.

One epoch of tuning, twelve networks on all of validation, the cut, one epoch of recovery. The others train
without a penalty, and get their cut networks for nothing: `Trainer` of transformers (bf16, batches by length,
nothing logged or saved), and the shortest loop that a person writes (batches in random order, padded to their
longest row).
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.model.anatomy import Anatomy
from pipeline.model.surgery import cut
from pipeline.study.records import Masks, Params
from pipeline.task.batches import Split
from pipeline.trial.training.precision import autocast
from pipeline.trial.trial import run_trial
from tests.benchmarks import subject
from tests.benchmarks.pairs import Missing, Row, compare, timed

NAME = "trial"
TRAIN = 1_600
LEARNING_RATE = 1e-4


def measure(*, quick: bool) -> Iterator[Row | Missing]:
    """Rows for the table."""
    pairs, train = (1, TRAIN // 2) if quick else (3, TRAIN)
    given = subject.inputs("snip", train=train)
    params = subject.defaults("snip", tune_epochs=1.0, recover_epochs=1.0, learning_rate=LEARNING_RATE)
    masks = _networks(given, params)

    def ours() -> float:
        return timed(lambda: run_trial(given, subject.job(params), lambda _: None))

    data = given.data
    others: dict[str, Any] = {"a hand-written loop": _Plain}
    if find_spec("accelerate") is None:
        yield Missing(NAME, "ours / Trainer", "Trainer needs accelerate: pip install 'prunefront[bench]'")
    else:
        others["Trainer"] = _Library
    for name, kind in others.items():
        yield compare(
            NAME,
            f"ours with SNIP / {name}",
            turn=ours,
            against=lambda kind=kind: timed(lambda: _same_work(kind(data.train), data.validation, masks)),
            base=name,
            pairs=pairs,
            warm=not quick,
        )


def _networks(given: Any, params: Params) -> tuple[list[Masks], Masks]:
    """The networks that a trial of ours measures and recovers."""
    record = run_trial(given, subject.job(params), lambda _: None)
    recovered = record.recovered
    if recovered is None:
        raise RuntimeError(f"This trial was to end with a network: {record.reason}.")
    return [point.masks for point in record.points if point.kind == "curve"], recovered.masks


def _same_work(how: Any, validation: Split, masks: tuple[list[Masks], Masks]) -> None:
    model, anatomy = subject.network()
    how.fit(model)
    curve, chosen = masks
    for step in curve:
        how.predict(_cut(model, anatomy, step), validation)
    small = _cut(model, anatomy, chosen)
    how.fit(small)
    how.predict(small, validation)


def _cut(model: Any, anatomy: Anatomy, masks: Masks) -> Any:
    small, parts = copy.deepcopy((model, anatomy))
    cut(small, parts, masks)
    return small


class _Plain:
    """The shortest loop."""

    def __init__(self, train: Split) -> None:
        self.train = _lists(train)

    def fit(self, model: Any) -> None:
        optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
        model.train()
        for rows in np.array_split(
            np.random.default_rng(0).permutation(len(self.train)), len(self.train) // subject.BATCH
        ):
            batch = _padded([self.train[row] for row in rows])
            with autocast(subject.DEVICE, subject.recipe().precision):
                loss = model(**batch).loss
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        model.eval()

    def predict(self, model: Any, split: Split) -> None:
        rows = _lists(split)
        with torch.no_grad(), autocast(subject.DEVICE, subject.recipe().precision):
            for start in range(0, len(rows), subject.BATCH):
                model(**_padded(rows[start : start + subject.BATCH])).logits.argmax(-1).tolist()


class _Library:
    """`Trainer`."""

    def __init__(self, train: Split) -> None:
        self.train = _lists(train)

    def fit(self, model: Any) -> None:
        self._trainer(model).train()
        model.eval()

    def predict(self, model: Any, split: Split) -> None:
        self._trainer(model).predict(_lists(split))  # type: ignore[arg-type]

    def _trainer(self, model: Any) -> Any:
        from transformers import Trainer, TrainingArguments

        folder = tempfile.gettempdir()
        how = TrainingArguments(
            output_dir=str(Path(folder) / "benchmark-trainer"),
            num_train_epochs=1,
            per_device_train_batch_size=subject.BATCH,
            per_device_eval_batch_size=subject.BATCH,
            learning_rate=LEARNING_RATE,
            weight_decay=0.01,
            warmup_steps=0.1,
            bf16=subject.recipe().precision == "bf16",
            train_sampling_strategy="group_by_length",
            use_cpu=not subject.GPU,
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        return Trainer(model=model, args=how, train_dataset=self.train, data_collator=_padded)  # type: ignore[arg-type]


def _lists(split: Split) -> list[dict[str, Any]]:
    ids = split.table["input_ids"].to_pylist()
    return [{"input_ids": row, "labels": int(label)} for row, label in zip(ids, split.labels, strict=True)]


def _padded(rows: list[dict[str, Any]]) -> dict[str, Tensor]:
    width = max(len(row["input_ids"]) for row in rows)
    ids = torch.tensor([row["input_ids"] + [0] * (width - len(row["input_ids"])) for row in rows])
    labels = torch.tensor([row["labels"] for row in rows])
    batch = {"input_ids": ids, "attention_mask": (ids != 0).long(), "labels": labels}
    return {name: value.to(subject.DEVICE) for name, value in batch.items()}
