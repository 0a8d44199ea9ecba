"""A trained network -> its ranking: scores of its method or of another, the order of removal, what refits the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.methods.base import PruningMethod
from pipeline.model.anatomy import Anatomy
from pipeline.model.device import waits_cost
from pipeline.study.records import Scores
from pipeline.trial.components import make_ranking_method
from pipeline.trial.curve import Ranking, UniformRanking, UnitRanking, WeightRanking, uniform_groups
from pipeline.trial.curve.allocation import NEURONS_TOGETHER, removal_order
from pipeline.trial.inputs import TrialInputs
from pipeline.trial.settings import OWN, UNIFORM, TrialSettings

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
    batches = inputs.data.calibration.in_length_order(CALIBRATION_BATCH)
    per_parameter = settings.score_per_parameter
    if settings.rank_by != OWN and not inputs.zeroes:
        method, per_parameter = make_ranking_method(settings.rank_by, inputs.kind)
    scores = method.score(model, anatomy, batches)
    reconstruction = inputs.reconstruction(model, anatomy) if settings.reconstruct else None
    if not isinstance(scores, Scores):
        return WeightRanking(scores, anatomy, reconstruction)
    if settings.allocation == UNIFORM:
        groups = uniform_groups(scores, model, anatomy, score_per_parameter=per_parameter)
        return UniformRanking(groups, anatomy=anatomy, reconstruction=reconstruction)
    together = NEURONS_TOGETHER if waits_cost(next(model.parameters()).device) else 1
    order = removal_order(
        scores,
        anatomy,
        score_per_parameter=per_parameter,
        min_attention_blocks=settings.min_attention_blocks,
        neurons_together=together,
    )
    return UnitRanking(order, together, anatomy=anatomy, reconstruction=reconstruction)
