"""Train chosen points of a front again on fresh seeds, and measure them on test rows: `prunefront confirm`."""

from pipeline.export.confirm.confirm import ConfirmResult, confirm, confirm_study
from pipeline.export.confirm.points import choose_points

__all__ = ["ConfirmResult", "choose_points", "confirm", "confirm_study"]
