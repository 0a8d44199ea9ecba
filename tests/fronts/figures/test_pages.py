"""Pages with figures: one script, which is plotly's, of the version whose figures it is given."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from plotly.offline import get_plotlyjs_version

from pipeline.fronts.figures import as_html, front_figure, hypervolume_figure, plotly_script
from pipeline.fronts.figures.pages import SCRIPT
from pipeline.fronts.figures.series import Series, dots
from tests.kit.tracking import SPEC, stored, trials


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Series:
    return Series(SPEC, dots(stored(tmp_path_factory.mktemp("store"), trials()).points()))


def test_the_script_is_of_the_version_that_the_package_writes_for() -> None:
    found = re.search(r"plotly\.js \(basic - minified\) v([\d.]+)", plotly_script()[:200])
    assert found is not None
    assert found[1] == get_plotlyjs_version(), (
        "The page's script draws what plotly writes; plotly has moved. In an empty folder: "
        f"`npm pack plotly.js-basic-dist-min@{get_plotlyjs_version()}`, then copy plotly-basic.min.js and LICENSE."
    )
    assert "</script" not in plotly_script()
    licence = SCRIPT.with_name("plotly-basic.LICENSE").read_text()
    assert "Permission is hereby granted, free of charge" in licence


def test_a_page_needs_no_network(series: Series) -> None:
    fetched: list[str] = []
    scripts: list[int] = []

    class Page(HTMLParser):
        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            fetched.extend(value for name, value in attributes if name in ("src", "href") and value)

        def handle_data(self, data: str) -> None:
            if self.lasttag == "script":
                scripts.append(len(data))

    page = as_html([front_figure([series]), hypervolume_figure([series])])
    Page().feed(page)
    assert not fetched
    assert sum(size > 1_000_000 for size in scripts) == 1  # plotly's own, once
    assert page.count("Plotly.newPlot(") == 2
    assert page.count('"showSendToCloud": false') == 2, "no button sends a chart away"
