"""Studies as one page that explains itself: offline, for screen, phone, print and screen reader."""

from pipeline.report.writing import Written, report

__all__ = ["Written", "report"]
