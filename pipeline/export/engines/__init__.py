"""A network in other engines than PyTorch: written, checked against it, and timed in turns with it."""

from pipeline.export.engines.engine import ENGINES, ONNX, OPENVINO, Engine, check_engines
from pipeline.export.engines.making import EngineNetwork, make_engines
from pipeline.export.engines.words import card_section

__all__ = [
    "ENGINES",
    "ONNX",
    "OPENVINO",
    "Engine",
    "EngineNetwork",
    "card_section",
    "check_engines",
    "make_engines",
]
