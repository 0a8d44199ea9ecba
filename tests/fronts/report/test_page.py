"""The page: what it says, what it escapes, how large it is; and, in a real browser, that it works offline."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pipeline.cli.app import run
from pipeline.export.choice import choose_point
from pipeline.fronts.bounds import Bounds
from pipeline.fronts.compare import compare, gather, sentences
from pipeline.fronts.figures import Dot, Series
from pipeline.fronts.figures.series import COLOURS
from pipeline.fronts.report import reading, report
from pipeline.fronts.report.markup import Picture, bullets
from pipeline.fronts.report.page import _points
from pipeline.fronts.report.reading import sparse
from pipeline.fronts.report.study import study_section
from pipeline.study.records import BadInput
from pipeline.study.store import Store
from tests.kit.browser import CHROMIUM, browse
from tests.kit.compare import write_study
from tests.kit.report import HEADS, LAYERS, write_store
from tests.kit.synthetic import point, record, spec


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str], Path]:
    """A store, its studies, and a page about the first of them."""
    root = tmp_path_factory.mktemp("report")
    names = write_store(root / "store", seeds=3, trials=10, steps=6)
    report(root / "store", names[:1], html=root / "one.html")
    report(root / "store", names, html=root / "all.html")
    return root, names, root / "one.html"


def dot(number: int, *, metric: float, gain: float) -> Dot:
    return Dot(number, "curve", metric, gain, 1000, 0.01, {}, gain)


class Outline(HTMLParser):
    """Tags with their attributes, and the text outside scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        if self.lasttag not in ("script", "style"):
            self.words.append(data)


def test_a_page_is_small_fetches_nothing_and_has_its_sections(made: tuple[Path, list[str], Path]) -> None:
    text = made[2].read_text()
    assert len(text.encode()) < 1_500_000
    outline = Outline(text)
    assert not [a for _, a in outline.tags for key in ("src", "srcset") if key in a]
    links = [a["href"] for _, a in outline.tags if "href" in a]
    assert links
    assert all(str(link).startswith("#") for link in links)
    places = {a.get("id") for _, a in outline.tags}
    assert {str(link)[1:] for link in links} <= places
    words = " ".join(outline.words)
    for told in ("Summary", "What was searched", "AMD EPYC", "confirmed points"):
        assert told in words
    plots = [a for _, a in outline.tags if a.get("class") == "plot"]
    assert len(plots) >= 6
    assert all(a["aria-label"] and a["role"] == "img" for a in plots)


def test_texts_of_a_store_are_never_markup(tmp_path: Path) -> None:
    evil = "</script><img src=x onerror=alert(1)>"
    root = tmp_path / "store"
    write_study(root, "one", [(0.9, 0.0), (0.8, 0.5)])
    Store(root).write_spec(replace(spec("one"), task=evil, model=evil, model_fingerprint=evil))
    report(root, ["one"], html=tmp_path / "page.html")
    outline = Outline((tmp_path / "page.html").read_text())
    assert "img" not in [tag for tag, _ in outline.tags]
    assert evil in " ".join(outline.words)


def test_commands_are_code_and_nothing_else_is() -> None:
    assert bullets(["`search --seeds 3` runs <more>"]).html == (
        "<ul><li><code>search --seeds 3</code> runs &lt;more&gt;</li></ul>"
    )


def test_several_studies_are_compared_and_those_that_cannot_be_are_not(
    made: tuple[Path, list[str], Path], tmp_path: Path
) -> None:
    words = " ".join(Outline((made[0] / "all.html").read_text()).words)
    assert sentences(compare(gather(made[0] / "store", made[1])))[0] in words
    assert "Differences" in words
    write_study(tmp_path, "one", [(0.8, 0.5)])
    write_study(tmp_path, "two", [(0.8, 0.5)], task="elsewhere", task_fingerprint="cafe")
    done = report(tmp_path, ["one", "two"], html=tmp_path / "page.html")
    assert "same task" in done.remarks[0]


def test_many_studies_have_a_table_and_a_legend_of_kinds(tmp_path: Path) -> None:
    names = [f"study-{number}" for number in range(8)]
    for number, name in enumerate(names):
        method = "snip" if number % 2 else "chance"
        write_study(tmp_path, name, *[[(0.9, 0.0), (0.6 + 0.01 * n, 0.5)] for n in range(12)], method=method)
    report(tmp_path, names, html=tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    outline = Outline(page)
    links = [a["href"] for tag, a in outline.tags if tag == "a" and "href" in a]
    assert len([link for link in links if str(link).startswith("#study-")]) == 1
    assert "8 studies" in " ".join(outline.words)
    held = dict(re.findall(r'id="data-([^"]+)">(.*?)</script>', page))
    traces = json.loads(held["front"])["data"]
    named = [t["name"] for t in traces if t.get("showlegend", True)]
    assert named == [
        "chance, tiny",
        "snip, tiny",
        "filled: cut, then trained on",
        "hollow: cut only",
        "star, dashes: dense network",
    ]
    assert {t["line"]["color"] for t in traces if t.get("name") == "snip, tiny"} == {COLOURS[1]}
    assert "study-3" in held["front"], "hovering names the study"


def test_marks_are_few_however_many_networks_there_are() -> None:
    series = Series(spec(), tuple(dot(n, metric=0.6 + n % 7 / 100, gain=n / 1000) for n in range(900)))
    thin = sparse(series, 50)
    assert len(thin.dots) <= len(series.front) + 50
    assert thin.front == series.front


def test_a_command_exports_the_network_that_was_clicked_though_the_search_goes_on(tmp_path: Path) -> None:
    """A row of the study's front is another network once a better one is found; a trial's own front stays."""
    write_study(tmp_path, "a", [(0.85, 0.1), (0.80, 0.5), (0.7, 0.4)], [(0.82, 0.2), (0.45, 0.9)])
    shown = _points([reading.read_study("a", store=tmp_path)])
    commands = {place: found["command"] for place, found in shown.items()}  # type: ignore[index]
    write_study(
        tmp_path, "a", [(0.85, 0.1), (0.80, 0.5), (0.7, 0.4)], [(0.82, 0.2), (0.45, 0.9)], [(0.9, 0.6)]
    )
    for place, command in commands.items():
        _, trial, number = place.split("/")
        if place in ("a/0/2", "a/1/1"):  # dominated within its trial; below the constant
            assert command == ""
            continue
        words = command.split()
        options = dict(itertools.pairwise(words))
        assert options["--trial"] == trial
        bounds = Bounds(point=int(options["--point"]))
        _, chosen = choose_point(Store(tmp_path), "a", bounds, trial=int(trial))
        assert (chosen.trial, chosen.point) == (int(trial), int(number))
    assert len(commands) == 5


def test_the_hypervolume_over_trials_is_that_of_all_networks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Marks are thinned, and of those that a later trial dominates only every k-th stays."""
    monkeypatch.setattr(reading, "CURVE_DOTS", 1)
    store = Store(tmp_path)
    store.write_spec(spec("a"))
    for number, points in enumerate(
        (
            [point(0.7, 0.5), point(0.6, 0.1, kind="recovered")],
            [point(0.65, 0.2), point(0.8, 0.4), point(0.6, 0.3, kind="recovered")],
            [point(0.9, 0.9, kind="recovered")],
        )
    ):
        store.study("a").write_record(record(number, *points))
    view = reading.read_study("a", store=tmp_path)
    assert len(view.series.dots) < len(view.whole.dots) == 6
    (growth,) = (
        block
        for block in study_section(view, lines=8, several=False).blocks
        if isinstance(block, Picture) and block.name == "growth-a"
    )
    # above the constant 0.5, over dense - constant = 0.4: 0.5 x 0.2; and 0.4 x 0.3 + 0.1 x 0.2; and 0.9 x 0.4
    assert growth.figure.data[0].y == pytest.approx((0.1 / 0.4, 0.14 / 0.4, 0.36 / 0.4))


def test_every_figure_is_a_picture_too(made: tuple[Path, list[str], Path], tmp_path: Path) -> None:
    done = report(made[0] / "store", made[1][:1], figures=tmp_path / "figures")
    page = made[2].read_text()
    held = dict(re.findall(r'id="data-([^"]+)">(.*?)</script>', page))
    assert {path.stem for path in done.written} == set(held) - {"layers", "points"}
    drawn = [json.loads(figure)["data"] for figure in held.values() if '"data":' in figure]
    assert all(drawn)
    assert {trace["type"] for traces in drawn for trace in traces} == {"scatter", "bar"}, (
        "all that the script draws"
    )
    for path in done.written:
        start = path.read_bytes()[:200]
        assert (
            start.startswith(b"\x89PNG") if path.suffix == ".png" else b"<svg" in start or b"<?xml" in start
        )


def test_a_study_without_a_trial_has_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_study(tmp_path, "empty")
    page = tmp_path / "page.html"
    assert run(["report", "empty", "--html", str(page), "--store", str(tmp_path), "--no-track"]) == 0
    assert "no finished trial" in page.read_text()
    assert run(["report", "empty", "--store", str(tmp_path)]) == 2
    assert "--html" in capsys.readouterr().err
    for html in (tmp_path / "no" / "page.html", tmp_path):
        with pytest.raises(BadInput, match="--html"):
            report(tmp_path, ["empty"], html=html)
    other = tmp_path / "other.html"
    with pytest.raises(BadInput, match="--figures"):
        report(tmp_path, ["empty"], html=other, figures=page)
    assert not other.exists()


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
@pytest.mark.parametrize("width", [1280, 390])
def test_it_works_in_a_browser_without_a_network(
    made: tuple[Path, list[str], Path], tmp_path: Path, width: int
) -> None:
    with browse(tmp_path) as page:
        page.open(made[0] / "all.html" if width > 600 else made[2], width=width, height=900, dark=width < 600)
        # no sideways scrolling of the page itself
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        # the legend stands close below its axis
        page.evaluate(
            "document.getElementById('front').scrollIntoView({ behavior: 'instant', block: 'center' })"
        )
        page.wait("document.querySelector('#front .legend') !== null")
        gap = page.evaluate(
            "(() => { const box = (of) => document.querySelector('#front ' + of).getBoundingClientRect();"
            "return box('.legend').top - box('.xtitle').bottom; })()"
        )
        assert 0 < gap < 60
        # other axes and the whole range, by buttons; a network is exported by a command that is copied
        ends = "document.getElementById('front')._fullLayout.{}.range.map((end) => Math.round(100 * end))"
        zoomed = page.evaluate(ends.format("yaxis"))
        labels = (
            "[...document.querySelectorAll('#front')].map((one) => one.previousElementSibling.textContent)"
        )
        assert page.evaluate(labels) == ["over compressionMBMACsmsthe frontfull range"]
        press = "[...document.querySelectorAll('.controls button')].find((one) => one.textContent === '{}').click()"
        page.evaluate(press.format("full range"))
        page.wait(f"({ends.format('yaxis')})[0] < {zoomed[0]} || {zoomed[0]} <= 50")
        page.evaluate(press.format("MB"))
        page.wait("document.querySelector('#front .xtitle').textContent.replace(/\\s/g, ' ').includes('MB')")
        assert page.evaluate(ends.format("xaxis")) == [0, 8400]  # the dense network's 80 MB
        page.evaluate(press.format("compression"))
        page.evaluate(press.format("the front"))
        page.wait(f"JSON.stringify({ends.format('yaxis')}) === '{json.dumps(zoomed).replace(' ', '')}'")
        # the keyboard's way: a button of the table shows the network
        page.evaluate("document.querySelector('button[data-point]').click()")
        shown = page.evaluate("document.getElementById('network').textContent")
        assert f"{LAYERS * HEADS} heads" in shown
        command = page.evaluate("document.querySelector('#network .command code').textContent")
        exports = r"prunefront export \S+ --trial \d+ --point \d+ --to ./small --store \S+"
        assert re.fullmatch(exports, command) or width > 600
        words = "[...document.querySelectorAll('#network .command code span')].map((one) => one.offsetHeight)"
        heights = page.evaluate(words)
        assert len({*heights[:6]}) == 1, f"an option is broken over two lines: {command}"
        page.evaluate("document.querySelector('#network .command button').click()")
        page.wait("document.querySelector('#network .command button').textContent === 'Copied'")
        assert page.evaluate("document.querySelectorAll('#network .layer').length") == LAYERS
        # the mouse's way: hover a mark, then click it
        page.evaluate("document.getElementById('network').replaceChildren()")
        soon = "new Promise((seen) => setTimeout(() => seen({}), 300))"
        for _ in range(20):  # figures that are still drawn move the mark away from the mouse
            x, y = page.evaluate(
                "(() => { const plot = document.getElementById('front');"
                "plot.scrollIntoView({ behavior: 'instant', block: 'center' });"
                "const mark = [...plot.querySelectorAll('.points path')].pop().getBoundingClientRect();"
                "return [mark.x + mark.width / 2, mark.y + mark.height / 2]; })()"
            )
            page.mouse("mouseMoved", x - 1, y)
            page.mouse("mouseMoved", x, y)
            if "trial" not in page.evaluate(
                soon.format("document.querySelector('#front .hoverlayer').textContent")
            ):
                continue
            page.mouse("mousePressed", x, y)
            page.mouse("mouseReleased", x, y)
            if page.evaluate(soon.format("document.querySelector('#network h3') !== null")):
                break
        else:
            pytest.fail("a click on a mark shows no network")
        # every figure draws
        page.evaluate(
            "document.querySelectorAll('details').forEach((one) => one.open = true);"
            "document.querySelectorAll('.plot').forEach((one) => one.scrollIntoView())"
        )
        page.wait(
            "(() => { const left = document.querySelector('.plot:not([data-drawn])');"
            "if (left) left.scrollIntoView(); return !left; })()"
        )
        buttons = page.evaluate(
            "[...document.querySelectorAll('.modebar-btn')].map((one) => one.dataset.title)"
        )
        assert ("Reset axes" in buttons) == (width > 600)
        assert not [title for title in buttons if "Share" in title], "no button sends a chart away"
        assert page.said == []
        assert [url for url in page.fetched if not url.startswith(("file:", "data:", "blob:"))] == []
