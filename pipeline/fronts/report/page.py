"""Sections as one HTML file: it fetches nothing, and names from a store are escaped.

plotly's script is in the page once, packed (1.2 MB become 0.5): a browser of 2023 or later unpacks it, after the page
is there to be read. A figure's data are parsed when it is drawn. The page's own style and script are the files beside
this one.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.fronts.figures import plotly_script
from pipeline.fronts.numbers import mb, short
from pipeline.fronts.report.markup import Picture, Section, text
from pipeline.fronts.report.reading import StudyView
from pipeline.study.records import BadInput

LINKED = 6  # studies that the page's head has links to
HERE = Path(__file__).parent
# The page may run what is in it and reach nothing.
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"


@dataclass(frozen=True)
class Followed:
    """What a dashboard's page shows.

    `stamp` is what its server says at `stamp`: the page asks, and loads again when that has changed. `note` is what
    the page says of its searches.
    """

    stamp: str
    note: str

    @property
    def meta(self) -> str:
        """Both, where the page's script finds them."""
        return (
            f'<meta name="stamp" content="{text(self.stamp)}"><meta name="note" content="{text(self.note)}">'
        )


def write_page(path: Path, page: str) -> None:
    """Write the page.

    Raises:
        BadInput: the folder is not there, or cannot be written.
    """
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{path} cannot be written: {error.strerror}. Name another file by --html.") from error


def page(
    sections: Sequence[Section],
    views: Sequence[StudyView],
    *,
    title: str,
    lead: str,
    live: Followed | None = None,
) -> str:
    """Return the page as HTML; a dashboard's page has `live`."""
    policy = POLICY + ("; connect-src 'self'" if live else "")
    script = _own("page.js") + (_own("live.js") if live else "")
    links = "".join(f'<a href="#{text(name)}">{text(title)}</a>' for name, title in _places(sections))
    body = "".join(_section(one) for one in sections)
    pictures = [block for one in sections for block in one.blocks if isinstance(block, Picture)]
    figures = "".join(_data(one.name, _slim(json.loads(str(one.figure.to_json())))) for one in pictures)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<meta name="color-scheme" content="light dark"><title>{text(title)}</title>'
        + (live.meta if live else "")
        + f"<style>{_own('page.css')}</style></head><body>"
        f'<a class="skip" href="#main">To the content</a><header><h1>{text(title)}</h1><p>{text(lead)}</p>'
        f'<nav aria-label="Sections">{links}</nav></header><main id="main">{body}</main>'
        "<noscript><p>Figures need JavaScript; the tables say the same.</p></noscript>"
        f"{figures}{_data('layers', _layers(views))}{_data('points', _points(views))}"
        f'<script type="text/plain" id="plotly">{_packed_plotly()}</script><script>{script}</script>'
        "</body></html>"
    )


def _places(sections: Sequence[Section]) -> list[tuple[str, str]]:
    """Return id and title of the sections that the page's head links to; of many studies only the first."""
    studies = [one for one in sections if one.name.startswith("study-")]
    if len(studies) <= LINKED:
        return [(one.name, one.title) for one in sections]
    first = studies[0]
    places = [(one.name, "Studies" if one is first else one.title) for one in sections]
    return [place for one, place in zip(sections, places, strict=True) if one is first or one not in studies]


def _slim(value: Any) -> Any:
    """Return a figure without plotly's template, which the page's style replaces, and with six digits a number."""
    if isinstance(value, dict):
        return {key: _slim(item) for key, item in value.items() if key != "template"}
    if isinstance(value, list):
        return [_slim(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _section(section: Section) -> str:
    inside = "".join(_block(block) for block in section.blocks)
    name, title = text(section.name), text(section.title)
    if section.fold:
        return (
            f'<section id="{name}"><details><summary><h2>{title}</h2> <span>{text(section.lead)}</span></summary>'
            f"{inside}</details></section>"
        )
    return f'<section id="{name}"><h2>{title}</h2>{inside}</section>'


def _block(block: object) -> str:
    if not isinstance(block, Picture):
        return str(block.html)  # type: ignore[attr-defined]
    subtitle = text(block.figure.layout.title.subtitle.text or "")
    title = text(block.title)
    return (
        f"<figure><figcaption><h3>{title}</h3><p>{subtitle}</p></figcaption>"
        f'<div class="plot" id="{text(block.name)}" role="img" aria-label="{title}. {text(block.description)}">'
        "</div></figure>"
    )


def _layers(views: Sequence[StudyView]) -> Mapping[str, object]:
    """Return heads and shares of neurons of every layer, by study/trial/point."""
    return {
        f"{view.front.spec.name}/{place}": asdict(layers)
        for view in views
        for place, layers in view.layers.items()
    }


def _points(views: Sequence[StudyView]) -> Mapping[str, object]:
    """Return how each pictured network is exported, and its settings, by study/trial/point.

    A row of a trial's own front names the network for good: the study's front changes when a search goes on.
    """
    found = {}
    for view in views:
        spec = view.front.spec
        for dot in view.series.dots:
            place = f"{dot.trial}/{dot.point}"
            if place not in view.layers:
                continue
            which = f"--trial {dot.trial} --point {view.rows[place]}" if place in view.rows else ""
            settings = "\n".join(f"{key} = {short(value)}" for key, value in sorted(dot.params.items()))
            found[f"{spec.name}/{place}"] = {
                "command": f"prunefront export {spec.name} {which} --to ./small{view.where}" if which else "",
                "settings": settings,
                "said": f"{spec.metric_name} {dot.metric:.4f} (dense {spec.anchors.dense:.4f}), {mb(dot.size_mb)} of "
                f"{mb(spec.anchors.dense_size_mb)} MB, {dot.parameters / 1e6:.2f} M parameters",
            }
    return found


def _data(name: str, value: object) -> str:
    """Return a script element with JSON; `<` is escaped, so that it cannot end the script."""
    content = json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return f'<script type="application/json" id="data-{text(name)}">{content}</script>'


def _own(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


@cache
def _packed_plotly() -> str:
    """Return plotly's script, gzipped, as base64."""
    return base64.b64encode(gzip.compress(plotly_script().encode(), 9, mtime=0)).decode()
