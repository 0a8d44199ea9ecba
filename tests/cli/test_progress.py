"""What a person sees while a search runs: a real terminal, and the view's parts by hand."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.cli.live_view import TRIALS_SHOWN, Pace, body, clock, counts
from pipeline.cli.output import Printer
from pipeline.cli.plot import braille
from pipeline.cli.progress import Terminal
from pipeline.driver.search.budget import Budget
from pipeline.driver.search.watcher import Preview, SearchProgress
from pipeline.fronts.front import front_of
from pipeline.study.store import Spent, Store
from tests.kit.synthetic import point, record, spec
from tests.kit.terminal import Searched


def test_a_search_on_a_terminal_shows_its_trials_within_their_epochs(watched: Searched) -> None:
    shown = watched.shown
    assert watched.code == 0, shown
    assert re.search(r"1 running of 3 trials · \d:\d\d of 30:00", shown)
    epochs = {float(found) for found in re.findall(r"\b(\d\.\d) of 2\b", shown)}
    assert epochs - {0.0, 1.0, 2.0}, "nothing moved within an epoch"
    assert re.search(r"→ \d+ %", shown), "no compression is projected"
    assert "accuracy against compression" in shown
    assert re.search(r"of 3 trials · \d:\d\d of 30:00 · hypervolume [\d.]+", shown)
    for chatter in ("INFO", "WARNING", "Warning", "raylet", "alembic", "(pid=", "Traceback"):
        assert chatter not in shown


def test_braille_by_hand() -> None:
    corners = [(0.0, 0.0), (1.0, 1.0), (0.0, 1.0), (1.0, 0.0)]
    assert braille(corners, columns=1, rows=1, x=(0, 1), y=(0, 1)) == ["⣉"]  # dots 1, 4, 7 and 8
    assert braille(corners, columns=2, rows=2, x=(0, 1), y=(0, 1)) == ["⠁⠈", "⡀⢀"]
    assert braille([(0.4, 0.4)], columns=1, rows=2, x=(0, 1), y=(0, 1), level=1.0) == ["╌", "⠁"]
    outside = [(-0.1, 0.5), (0.5, 1.1), (float("nan"), 0.5)]
    assert braille(outside, columns=3, rows=1, x=(0, 1), y=(0, 1)) == ["   "]
    assert braille([(0.0, 0.7)], columns=1, rows=1, x=(0, 1), y=(0.7, 0.7)) == ["⠁"]


def test_a_pace_is_that_since_the_first_report() -> None:
    first = Pace.of(None, {"epoch": 1.0, "epochs": 5.0, "metric": 0.7}, 100.0)
    assert first.seconds_left(100.0) is None
    second = Pace.of(first, {"epoch": 2.0, "epochs": 5.0, "train_loss": 0.3}, 110.0)
    assert second.values == {"epoch": 2.0, "epochs": 5.0, "metric": 0.7, "train_loss": 0.3}
    assert second.seconds_left(110.0) == pytest.approx(30.0)  # three epochs of ten seconds
    assert second.seconds_left(115.0) == pytest.approx(25.0)
    assert second.seconds_left(1000.0) == 0.0
    again = Pace.of(second, {"epoch": 0.5, "epochs": 5.0}, 120.0)  # its worker was lost
    assert (again.began_at, again.seconds_left(120.0)) == (0.5, None)


def standing(tmp_path: Path, **other: object) -> SearchProgress:
    store = Store(tmp_path)
    store.write_spec(spec())
    for number, (metric, compression) in enumerate([(0.9, 0.2), (0.8, 0.5), (0.6, 0.9)]):
        store.study("toy").write_record(record(number, point(metric, compression, kind="recovered")))
    found = front_of(store.study("toy").read_points())
    plain = SearchProgress(5, 1, 1, (5, 6), found, budget=Budget(16), spent=Spent())
    return replace(plain, **other)  # type: ignore[arg-type]


def test_counts_and_budgets(tmp_path: Path) -> None:
    volume = "hypervolume 0.525"  # (0.4 · 0.2 + 0.3 · 0.3 + 0.1 · 0.4) / 0.4
    assert counts(standing(tmp_path), since_s=9.0) == (
        f"3 complete, 1 stopped, 1 failed, 2 running of 16 trials · {volume}"
    )
    limited = Budget(16, minutes=90.0, gpu_hours=2.0)
    found = counts(standing(tmp_path, budget=limited, spent=Spent(61.0, 1800.0)), since_s=9.0)
    assert found.endswith("of 16 trials · 1:10 of 1:30:00 · 0.50 of 2 GPU-hours · hypervolume 0.525")
    nothing = replace(standing(tmp_path), ended=0, stopped=0, failed=0, at_work=(), front=None)
    assert counts(nothing, since_s=0.0) == "none yet of 16 trials"
    assert [clock(s) for s in (5, 125, 7322)] == ["0:05", "2:05", "2:02:02"]


@pytest.mark.parametrize("width", [80, 140])
def test_the_view_fits_its_terminal(tmp_path: Path, width: int) -> None:
    values = {"epoch": 2.3, "epochs": 5.0, "train_loss": 0.412, "metric": 0.655, "projected": 0.68}
    found = standing(tmp_path, at_work=tuple(range(5, 40)))
    console = Console(width=width, file=io.StringIO(), legacy_windows=False, force_terminal=False)
    console.print(body(found, {5: Pace(values, 0.0, 0.0, 1.0)}, {}, since_s=0.0, width=width))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    lines = shown.splitlines()
    assert max(map(len, lines)) <= width
    (row,) = [line for line in lines if "2.3 of 5" in line]
    assert re.search(r"^    5  .*2\.3 of 5 +0\.412 +0\.655 +→ 68 %", row)
    assert sum("starting" in line for line in lines) == TRIALS_SHOWN - 1
    assert f"and {35 - TRIALS_SHOWN} more" in shown
    assert sum(any("⠁" <= sign <= "⣿" for sign in line) for line in lines) == 3, (
        "three networks, three heights"
    )


def test_the_view_has_no_table_where_no_trial_runs(tmp_path: Path) -> None:
    for width in (80, 140):
        view = Console(width=width, file=io.StringIO(), legacy_windows=False, force_terminal=False)
        view.print(body(standing(tmp_path, at_work=()), {}, {}, since_s=0.0, width=width))
        shown = view.file.getvalue()  # type: ignore[attr-defined]
        assert "epoch" not in shown
        assert "accuracy against compression" in shown


def test_first_networks_are_shown_until_a_trial_has_ended(tmp_path: Path) -> None:
    console = Printer(file=io.StringIO(), width=200, markup=False, emoji=False)
    shown, preview = Terminal(console), Preview(1.5, ((0.9, 0.1), (0.895, 0.4), (0.7, 0.8)))
    said = console.file.getvalue  # type: ignore[attr-defined]
    running = standing(tmp_path)
    none = replace(
        running, ended=0, stopped=0, failed=0, at_work=(5,), front=replace(running.front, points=())
    )  # type: ignore[type-var]
    shown.on_change(none, None)
    shown.on_preview(5, preview)
    assert said() == "0:00  trial 5   0.8950 at 40.0 % so far, after 1.5 epochs\n"
    view = Console(width=80, file=io.StringIO(), legacy_windows=False, force_terminal=False)
    view.print(body(none, {}, {}, [preview], since_s=0.0, width=80))
    plot = view.file.getvalue()  # type: ignore[attr-defined]
    assert "accuracy against compression so far" in plot
    dots = [line for line in plot.splitlines() if any("⠁" <= sign <= "⣿" for sign in line)]
    assert len(dots) == 2, "0.9 and 0.895 are a dot apart, 0.7 is at the lower end"
    shown.on_change(running, None)  # a trial has ended: what stands on the front is plotted
    shown.on_preview(6, preview)
    assert said().count("\n") == 1


def test_square_brackets_and_escapes_are_texts(tmp_path: Path) -> None:
    """A trial's reason may name a file as [/data/x], or come from a library that colours its messages."""
    store = Store(tmp_path)
    store.write_spec(spec())
    failed = replace(record(0, state="failed", reason="cannot open [/data/x] \x1b[31m[cpu, cuda]"), params={})
    store.study("toy").write_record(failed)
    console = Printer(file=io.StringIO(), width=200, markup=False, emoji=False)
    shown = Terminal(console)
    shown.on_change(standing(tmp_path / "other"), store.study("toy").read_record(0))
    shown.warn("[/] is no place")
    shown.stage("[/]")
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert "cannot open [/data/x] \N{REPLACEMENT CHARACTER}[31m[cpu, cuda]" in said
    assert "[/] is no place" in said
    assert "\x1b[31m[" not in said
