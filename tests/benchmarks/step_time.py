"""A training step of every method against plain fine-tuning; SNIP's penalty and bound apart; our dropout, torch's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from unittest.mock import patch

from pipeline.study.records import Params
from pipeline.task.batches import Split
from tests.benchmarks import subject
from tests.benchmarks.pairs import Row, Turn, compare

NAME = "step"
TOKENS = (None, 48)  # lengths of SST-2; all rows of 48 tokens
GOALS = {"block": 1.05, "head": 1.15}


def measure(*, quick: bool) -> Iterator[Row]:
    """Rows for the table."""
    pairs, steps = (4, 5) if quick else (9, 8)
    model, anatomy = subject.network()
    initial = {name: value.clone() for name, value in model.state_dict().items()}
    for tokens in TOKENS[: 1 if quick or subject.GPU else 2]:
        split = subject.task().train if tokens is None else subject.rows(640, seed=0, tokens=tokens)
        length = "SST-2 lengths" if tokens is None else f"{tokens} tokens"

        def turn(name: str | None, params: Params | None, split: Split = split) -> Turn:
            def run() -> float:
                method = subject.fresh(name, params) if name and params else None
                model.load_state_dict(initial)  # of what an earlier turn has zeroed scores would be equal
                return subject.steps_s(model, anatomy, split, steps=steps, method=method)

            return run

        plain = turn(None, None)
        base = f"{steps} plain steps"
        for name, params in subject.methods().items() if tokens is None else ():
            what = f"{name}, defaults, {length}"
            yield compare(NAME, what, turn=turn(name, params), against=plain, base=base, pairs=pairs)
        if not subject.GPU:  # there it is torch's
            what = f"plain, dropout of our own, {length}"
            yield compare(
                NAME,
                what,
                turn=plain,
                against=_with_torchs_dropout(plain),
                base=f"{base}, torch's",
                pairs=pairs,
            )
        for level, goal in GOALS.items():
            bare = subject.defaults("snip", level=level, spectral_bound="off")
            bound = subject.defaults("snip", level=level, spectral_bound="relative", bound_relative=0.7)
            bound |= {"bound_scope": "branch", "bound_warmup": 0.1}
            for what, params, other, of in (
                ("penalty", bare, plain, base),
                ("penalty and bound", bound, plain, base),
                ("with bound / without", bound, turn("snip", bare), f"{steps} steps without"),
            ):
                wanted = goal if what == "penalty and bound" else None
                what = f"snip, {level}, {what}, {length}"
                this = turn("snip", params)
                yield compare(NAME, what, turn=this, against=other, base=of, pairs=pairs, goal=wanted)


def _with_torchs_dropout(turn: Turn) -> Turn:
    def run() -> float:
        with patch("pipeline.trial.training.loop.cheap_dropout", lambda _: nullcontext()):
            return turn()

    return run
