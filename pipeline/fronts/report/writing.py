"""Write a report: the page, and its figures as pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.fronts.compare import Comparison, compare, gather
from pipeline.fronts.figures import still
from pipeline.fronts.report.markup import Picture, Section
from pipeline.fronts.report.page import Followed, page, write_page
from pipeline.fronts.report.reading import StudyView, read_study
from pipeline.fronts.report.sections import report_sections
from pipeline.study.records import BadInput, StudySpec
from pipeline.study.store import Store

KINDS = ("png", "svg")

Keep = Callable[[str, list[StudySpec]], list[str]]
UNBROKEN = "\u2011"  # a hyphen at which no line ends


@dataclass(frozen=True)
class Written:
    """The files that a report has written, and remarks for the user."""

    written: tuple[Path, ...]
    remarks: tuple[str, ...]


def report(
    store: Path | str,
    studies: Sequence[str],
    *,
    html: Path | None = None,
    figures: Path | None = None,
    keep: Keep | None = None,
    log: Callable[[str], None] = lambda _: None,
) -> Written:
    """Write studies as a page and as pictures, each if a place is given.

    Args:
        store: the folder of the store.
        studies: names of studies; a name that is given twice counts once.
        html: the file of the page.
        figures: the folder that gets every figure as .png and .svg.
        keep: is given the page and its studies, to put it elsewhere (MLflow); returns remarks for the user.
        log: is called with a line before each step.

    Raises:
        BadInput: no such study, or a file cannot be written.
    """
    names = list(dict.fromkeys(studies))
    if not names:
        raise BadInput("No study is named. A report is about studies.")
    check_places(html, figures)
    for name in names:
        Store(Path(store)).study(name).read_spec()  # all are there, before the first is read
    views: list[StudyView] = []
    for count, name in enumerate(names, 1):
        log(f"reading {name} ({count} of {len(names)}) …")
        views.append(read_study(name, store=store, share=1 / len(names)))
    log("drawing …" if len(names) == 1 else "comparing and drawing …")
    comparison, remarks = _comparison(store, names)
    sections = report_sections(views, comparison)
    text = _page(views, sections) if html is not None or keep is not None else ""
    written: list[Path] = []
    if html is not None:
        write_page(html, text)
        written.append(html)
    if figures is not None:
        log("drawing pictures …")
        written += _pictures(figures, sections)
    if keep is not None:
        log("keeping the page in MLflow …")
        remarks += keep(text, [view.front.spec for view in views])
    return Written(tuple(written), tuple(remarks))


def live_page(store: Path | str, studies: Sequence[str], *, stamp: str, note: str) -> str:
    """Return the page about studies that may still run, as a dashboard shows it: it loads again when `stamp` changes.

    `note`: what the page says of their searches.

    Raises:
        BadInput: no such study, or its files are damaged.
    """
    views = [read_study(name, store=store, share=1 / len(studies)) for name in studies]
    comparison, _ = _comparison(store, studies)
    return _page(views, report_sections(views, comparison), live=Followed(stamp, note))


def _page(views: Sequence[StudyView], sections: Sequence[Section], *, live: Followed | None = None) -> str:
    """Return the page with its title and what stands below it."""
    title = views[0].front.spec.name if len(views) == 1 else f"{len(views)} studies"
    lead = "prunefront: what a smaller encoder costs · " + ", ".join(
        dict.fromkeys(f"{view.front.spec.task} with {view.front.spec.model}" for view in views)
    )
    lead += f" · {sum(view.front.trials for view in views)} trials, {_hours(views)} of training"
    if ended := max(view.ended for view in views):
        lead += f", the last of {ended.replace('-', UNBROKEN)}"
    return page(sections, views, title=title, lead=lead, live=live)


def _hours(views: Sequence[StudyView]) -> str:
    """Return how long the trials of all studies trained."""
    minutes = sum(view.front.seconds for view in views) / 60
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def check_places(html: Path | None, figures: Path | None = None) -> None:
    """Check where a report is to be written, before anything is read, which takes long.

    Raises:
        BadInput: the page's folder is not there, or something else is in the place.
    """
    if html is not None and html.is_dir():
        raise BadInput(f"--html: {html} is a folder. Name a file.")
    if html is not None and not html.parent.is_dir():
        raise BadInput(f"--html: there is no folder {html.parent}. Make it, or name another file.")
    if figures is not None and figures.exists() and not figures.is_dir():
        raise BadInput(f"--figures: {figures} is a file, not a folder. Name another.")


def _comparison(store: Path | str, names: Sequence[str]) -> tuple[Comparison | None, list[str]]:
    """Return the comparison of the studies, if they can be compared; else the reason as a remark."""
    if len(names) < 2:
        return None, []
    try:
        return compare(gather(store, names, across_models=True)), []
    except BadInput as reason:
        return None, [f"The page does not compare the studies. {reason}"]


def _pictures(folder: Path, sections: Sequence[Section]) -> list[Path]:
    """Write every figure of the page as .png and .svg."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        drawn = {
            block.name: block.figure for one in sections for block in one.blocks if isinstance(block, Picture)
        }
        written = []
        for kind in KINDS:
            for name, figure in drawn.items():
                path = folder / f"{name}.{kind}"
                path.write_bytes(still(figure, kind=kind))
                written.append(path)
    except OSError as error:
        raise BadInput(
            f"--figures: {folder} cannot be written to: {error.strerror}. Name another folder."
        ) from error
    return written
