"""Studies as one page that explains itself: offline, for screen, phone, print and screen reader."""

from pipeline.fronts.report.writing import Written, check_places, live_page, report

__all__ = ["Written", "check_places", "live_page", "report"]
