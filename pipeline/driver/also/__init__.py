"""Trackers beside MLflow, by `--also`: each trial is a run that is written when it has ended."""

from pipeline.driver.also.reporting import check_also, reporting

__all__ = ["check_also", "reporting"]
