"""A trial's parameters with their types: read once, when the trial begins."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.study.records import Params, ParamValue

OWN = "own"  # of `rank_by`: the method that trained the network ranks it, too
# Of `recover`: one cut network is trained on; or one after the other; or all of them together, on shared weights.
POINT, LADDER, CHAIN = "point", "ladder", "chain"
# Of `allocation`: units go one by one, by score, or by score per millisecond; or alike in all layers.
UNITS, LATENCY, UNIFORM = "units", "latency", "uniform"
CURVE_STEPS, REFITTED_STEPS = 32, 16  # networks on a curve; a refit takes as long as measuring the network


@dataclass(frozen=True)
class TrialSettings:
    """The parameters of a trial itself; those of its method and its distillation are fields of theirs.

    A space has one of `threshold` (units whose score is at or below it go) and `target` (the compression, or the
    sparsity, to reach); the other is None.
    """

    learning_rate: float
    batch_size: int
    warmup_fraction: float
    weight_decay: float
    tune_epochs: float
    recover_epochs: float
    rounds: int
    score_per_parameter: bool
    min_attention_blocks: int
    threshold: float | None
    target: float | None
    start_dense: bool
    rewind: bool
    reconstruct: bool = False
    rank_by: str = OWN
    recover: str = POINT
    allocation: str = UNITS
    min_heads_per_layer: int = 0
    rescore: int = 0  # how often scores are computed anew along the curve
    ladder_steps: int = 1  # networks that a ladder, or a chain, trains
    ladder_end: float = 0.95  # compression, or sparsity, of the last of them
    chain_batch: str = "one"  # which networks of a chain a batch is trained on
    recover_rate_factor: float = 1.0  # on the learning rate, in recovery

    @classmethod
    def of(cls, params: Params) -> TrialSettings:
        """Read the settings from a trial's parameters.

        Raises:
            KeyError: a parameter that every space has is missing.
        """
        return cls(
            learning_rate=float(params["learning_rate"]),
            batch_size=int(params["batch_size"]),
            warmup_fraction=float(params["warmup_fraction"]),
            weight_decay=float(params["weight_decay"]),
            tune_epochs=float(params["tune_epochs"]),
            recover_epochs=float(params["recover_epochs"]),
            rounds=int(params["rounds"]),
            score_per_parameter=bool(params["score_per_parameter"]),
            min_attention_blocks=int(params["min_attention_blocks"]),
            threshold=_number(params.get("threshold")),
            target=_number(params.get("target")),
            start_dense=bool(params.get("start_dense", False)),
            rewind=bool(params.get("rewind", False)),
            reconstruct=bool(params.get("reconstruct", False)),
            rank_by=str(params.get("rank_by", OWN)),
            recover=str(params.get("recover", POINT)),
            allocation=str(params.get("allocation", UNITS)),
            min_heads_per_layer=int(params.get("min_heads_per_layer", 0)),
            rescore=int(params.get("rescore", 0)),
            ladder_steps=int(params.get("ladder_steps", 1)),
            ladder_end=float(params.get("ladder_end", 0.95)),
            chain_batch=str(params.get("chain_batch", "one")),
            recover_rate_factor=float(params.get("recover_rate_factor", 1.0)),
        )

    @property
    def curve_steps(self) -> int:
        """How many networks of a curve are measured, at most."""
        return REFITTED_STEPS if self.reconstruct else CURVE_STEPS

    @property
    def recovery(self) -> str:
        """How cut networks are trained on; without recovery, that of a point."""
        return self.recover if self.recover_epochs > 0 else POINT

    @property
    def climbs(self) -> bool:
        """Whether the recovery is a ladder: cut, train, measure, rank, cut on."""
        return self.recovery == LADDER

    @property
    def chains(self) -> bool:
        """Whether the recovery trains the networks of the curve together, on the weights of the last round."""
        return self.recovery == CHAIN


def _number(value: ParamValue | None) -> float | None:
    return None if value is None else float(value)
