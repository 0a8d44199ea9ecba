"""Networks in 8-bit integers: written, measured on the same rows as the fp32 network, and timed in turns with it."""

from pipeline.export.int8.kinds import KINDS, ONNX_KINDS, Kind, check_kinds
from pipeline.export.int8.making import Int8Network, make_int8, scores_of
from pipeline.export.int8.words import card_section, loss_said

__all__ = [
    "KINDS",
    "ONNX_KINDS",
    "Int8Network",
    "Kind",
    "card_section",
    "check_kinds",
    "loss_said",
    "make_int8",
    "scores_of",
]
