"""TensorBoard's event files: a folder per trial, with its settings for the page of hyperparameters."""

from __future__ import annotations

from pathlib import Path
from typing import final

from pipeline.driver.also.port import Run
from pipeline.study.whole_file import whole_folder


@final
class TensorBoard:
    """Runs below a folder: FOLDER/STUDY/trial-00003."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder).expanduser()

    def write(self, run: Run) -> None:
        """Write a run whole, in place of an earlier one of its trial."""
        from torch.utils.tensorboard import SummaryWriter
        from torch.utils.tensorboard.summary import hparams

        with (
            whole_folder(self._folder / run.study / run.name) as part,
            SummaryWriter(str(part)) as writer,
        ):
            for summary in hparams(dict(run.params), run.last):  # type: ignore[no-untyped-call]
                writer.file_writer.add_summary(summary)
            for name, values in run.series.items():
                for step, value in values:
                    writer.add_scalar(name, value, step)
            writer.add_text("state", run.state)
