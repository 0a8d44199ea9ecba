"""A trained network -> its ranking: scores of its method or of another, the order of removal, what refits the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from pipeline.methods.base import OneShot, PruningMethod
from pipeline.model.anatomy import Anatomy
from pipeline.model.device import waits_cost
from pipeline.model.unstructured import Matrices
from pipeline.study.records import Scores
from pipeline.trial.components import make_ranking_method
from pipeline.trial.curve import Ranking, UniformRanking, UnitRanking, WeightRanking, uniform_groups
from pipeline.trial.curve.allocation import Removal, neurons_together, removal_order
from pipeline.trial.curve.rescoring import rescored_order, rescored_weights
from pipeline.trial.curve.timed_order import by_time
from pipeline.trial.inputs import TrialInputs
from pipeline.trial.settings import LATENCY, OWN, UNIFORM, TrialSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CALIBRATION_BATCH = 64


def rank_network(
    inputs: TrialInputs,
    settings: TrialSettings,
    method: PruningMethod,
    model: PreTrainedModel,
    anatomy: Anatomy,
) -> Ranking:
    """Rank the units, or the single weights, of a network.

    Args:
        inputs: of the study.
        settings: of the trial; they may name another method whose scores rank.
        method: that trained the network.
        model: trained; it is not changed.
        anatomy: its own.
    """
    batches = inputs.data.calibration.in_length_order
    per_parameter = settings.score_per_parameter
    if settings.rank_by != OWN and not inputs.zeroes:
        method, per_parameter = make_ranking_method(settings.rank_by, inputs.kind)
    reconstruction = inputs.reconstruction(model, anatomy) if settings.reconstruct else None
    times = (
        settings.rescore if isinstance(method, OneShot) else 0
    )  # others have learned their scores in training
    anew: dict[str, Any] = {"times": times, "end": settings.ladder_end, "reconstruction": reconstruction}
    if inputs.zeroes:

        def score(model: PreTrainedModel, anatomy: Anatomy) -> Matrices:
            return cast("Matrices", method.score(model, anatomy, batches(CALIBRATION_BATCH)))

        scores = rescored_weights(score, model, anatomy, **anew) if times else score(model, anatomy)
        return WeightRanking(scores, anatomy, reconstruction)
    if settings.allocation == UNIFORM:
        units = cast("Scores", method.score(model, anatomy, batches(CALIBRATION_BATCH)))
        least = settings.min_heads_per_layer
        groups = uniform_groups(units, model, anatomy, score_per_parameter=per_parameter, least_heads=least)
        return UniformRanking(groups, anatomy=anatomy, reconstruction=reconstruction)
    gpu = waits_cost(next(model.parameters()).device)
    together = neurons_together(anatomy.neurons_per_layer) if gpu else 1

    def ordered(model: PreTrainedModel, anatomy: Anatomy) -> tuple[Removal, ...]:
        timed = settings.allocation == LATENCY and settings.threshold is None
        order = removal_order(
            cast("Scores", method.score(model, anatomy, batches(CALIBRATION_BATCH))),
            anatomy,
            score_per_parameter=per_parameter and not timed,
            min_attention_blocks=settings.min_attention_blocks,
            min_heads_per_layer=settings.min_heads_per_layer,
            neurons_together=together,
        )
        if not timed:
            return order
        if inputs.latency is None:
            raise ValueError("Units are ordered by time; the study has no table of latencies.")
        return by_time(order, anatomy, inputs.latency)

    anew |= {"neurons_together": together}
    order = rescored_order(ordered, model, anatomy, **anew) if times else ordered(model, anatomy)
    return UnitRanking(order, together, anatomy=anatomy, reconstruction=reconstruction)
