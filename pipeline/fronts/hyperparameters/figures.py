"""The range of good penalties as a figure per row of `best --by-task`: for the browser, and for a paper."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from pipeline.fronts.figures import as_html, penalty_figure, still
from pipeline.fronts.hyperparameters.by_task import Choice
from pipeline.fronts.hyperparameters.profile import Profile
from pipeline.study.records import BadInput

KINDS = ("png", "svg")


def write_profiles(folder: Path, choices: Sequence[Choice]) -> list[Path]:
    """Write penalty-TASK-MODEL-METHOD.html, .png and .svg of every choice that has a profile; return the files.

    Raises:
        BadInput: the folder cannot be written.
    """
    written: list[Path] = []
    names: dict[str, int] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for choice in choices:
            if choice.profile is not None:
                stem = _stem(choice)
                names[stem] = names.get(stem, 0) + 1
                many = names[stem]  # a task whose data changed has rows of one name
                path = folder / (stem if many == 1 else f"{stem}-{many}")
                written += _write(path, choice, choice.profile)
    except OSError as error:
        raise BadInput(
            f"--figures: {folder} cannot be written to: {error.strerror}. Name another folder."
        ) from error
    return written


def _stem(choice: Choice) -> str:
    name = "-".join(("penalty", choice.task, choice.model, choice.method))
    return re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.")[:150]


def _write(stem: Path, choice: Choice, profile: Profile) -> list[Path]:
    figure = penalty_figure(
        [(band.low, band.high, band.hypervolume, band.error) for band in profile.bands],
        key=profile.key,
        good=(profile.low, profile.high),
        of=f"{choice.task}, {choice.model}, {choice.method}",
        subtitle=profile.sentence,
    )
    page = stem.with_name(f"{stem.name}.html")
    page.write_text(as_html([figure]), encoding="utf-8")
    written = [page]
    for kind in KINDS:
        path = stem.with_name(f"{stem.name}.{kind}")
        path.write_bytes(still(figure, kind=kind))
        written.append(path)
    return written
