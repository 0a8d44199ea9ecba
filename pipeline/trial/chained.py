"""The recovery of a whole chain: which networks it trains, and what they come to."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.study.records import Measurement
from pipeline.trial.curve import Ranking
from pipeline.trial.curve.allocation import Step
from pipeline.trial.curve.chain import Chain
from pipeline.trial.measure import Evaluation
from pipeline.trial.run import TrialRun


def begin_chain(run: TrialRun, ranking: Ranking) -> None:
    """Take the networks of a ranking's curve, and the one at the end, as those that recovery trains together."""
    settings = run.settings
    steps = ranking.steps(most=settings.curve_steps, include=run.choose(ranking))
    nested = {step.removed: step for step in (ranking.at(target=settings.ladder_end), *steps)}
    run.chain = Chain.of(
        [nested[removed] for removed in sorted(nested)],
        ranking.tensors,
        count=settings.ladder_steps,
        end=settings.ladder_end,
        of_a_batch=settings.chain_batch,
        seed=run.job.ask.seed,
    )


def walk_chain(run: TrialRun) -> Iterator[tuple[Step, Evaluation, Measurement]]:
    """Measure every network of the curve, each made from the weights that were trained."""
    return run.chain.walk(run.model, run.anatomy, run.measure, reconstruction=run.reconstruction())
