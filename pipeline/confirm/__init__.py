"""Chosen points of a front again, on fresh seeds and on test rows: what `prunefront confirm` runs."""

from pipeline.confirm.choosing import choose_points
from pipeline.confirm.running import Confirm, Done, confirm

__all__ = ["Confirm", "Done", "choose_points", "confirm"]
