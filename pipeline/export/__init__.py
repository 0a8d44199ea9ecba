"""One point of a front -> a folder that others load: checkpoint, model card, ONNX; and to the hub."""

from pipeline.export.choosing import Choice
from pipeline.export.exporting import Exported, export

__all__ = ["Choice", "Exported", "export"]
