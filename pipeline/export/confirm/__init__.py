"""Chosen points of a front again, on fresh seeds and on test rows: what `prunefront confirm` runs."""

from pipeline.export.confirm.confirm import Confirm, Done, confirm
from pipeline.export.confirm.points import choose_points

__all__ = ["Confirm", "Done", "choose_points", "confirm"]
