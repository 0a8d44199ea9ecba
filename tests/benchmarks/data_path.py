"""What of a training batch is padding, and what making batches costs against training on them."""

from __future__ import annotations

from collections.abc import Iterator

from tests.benchmarks import subject
from tests.benchmarks.pairs import Row, compare, timed

NAME = "data"
GOAL = 0.05


def measure(*, quick: bool) -> Iterator[Row]:
    """Rows for the table."""
    train = subject.task().train
    shares = []
    for seed in range(3):
        masks = [
            train.collate(rows)["attention_mask"] for rows in train.training_order(subject.BATCH, seed=seed)
        ]
        shares.append(1 - sum(int(m.sum()) for m in masks) / sum(m.numel() for m in masks))
    low, middle, high = sorted(shares)
    base = "SST-2 lengths, batches of 32, 3 seeds"
    yield Row(NAME, "padding in training batches", middle, low, high, 3, base, GOAL, "")
    model, anatomy = subject.network()
    order = train.training_order(subject.BATCH, seed=0)[:20]
    yield compare(
        NAME,
        "making batches / training on them",
        turn=lambda: timed(lambda: [train.collate(rows) for rows in order]),
        against=lambda: subject.steps_s(model, anatomy, train, steps=len(order)),
        base=f"{len(order)} plain steps",
        pairs=3 if quick else 7,
    )
