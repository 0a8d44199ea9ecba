"""Chosen points of a front again, on fresh seeds and on test rows: what `prunefront confirm` runs."""

from pipeline.export.confirm.confirm import ConfirmResult, confirm
from pipeline.export.confirm.points import choose_points

__all__ = ["ConfirmResult", "choose_points", "confirm"]
