"""Trackio's runs on this machine: a project per task, a group per study. Its folder is TRACKIO_DIR."""

from __future__ import annotations

from contextlib import redirect_stdout
from sys import stderr
from typing import final

from pipeline.driver.also.port import Run


@final
class Trackio:
    """Runs in Trackio's own folder; `trackio show` opens its pages."""

    def __init__(self, _: str) -> None:
        """Begin without a run."""

    def write(self, run: Run) -> None:
        """Write a run."""
        import trackio

        with redirect_stdout(stderr):  # it greets; stdout is the command's own
            made = trackio.init(
                project=run.task.replace("/", "-"),
                name=f"{run.study}-{run.name}",
                group=run.study,
                config={**run.params, "state": run.state},
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )
            steps = sorted({step for values in run.series.values() for step, _ in values})
            for step in steps:
                at = {name: dict(values)[step] for name, values in run.series.items() if step in dict(values)}
                made.log(at, step=step)
            made.finish()
