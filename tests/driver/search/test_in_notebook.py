"""What a notebook shows of a search; the display itself is IPython's, in a real shell where it is installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.driver.search.budget import Budget
from pipeline.driver.search.in_notebook import LINES, NotebookWatcher, in_notebook
from pipeline.driver.search.watcher import Preview, SearchProgress
from pipeline.fronts.front import load_front
from pipeline.study.store import Spent, Store
from tests.kit.synthetic import point, record, spec


class Told(NotebookWatcher):
    """Keeps what would be shown."""

    def _show(self) -> None:
        self.shown = self.text()


def told(watcher: NotebookWatcher, folder: Path) -> None:
    store = Store(folder)
    store.write_spec(spec())
    ended = record(0, point(0.85, 0.5, kind="recovered"))
    store.study("toy").write_record(ended)
    watcher.stage("running trials")
    watcher.anchors(spec())
    front = load_front("toy", store=folder)
    progress = SearchProgress(1, 0, 0, (1,), front, Budget(3), Spent())
    watcher.on_progress(1, {"epoch": 0.5, "epochs": 2.0})
    watcher.on_change(progress, ended)
    watcher.warn("<b>slow</b>")


def test_it_shows_what_runs_and_what_has_ended(tmp_path: Path) -> None:
    watcher = Told()
    told(watcher, tmp_path)
    lines = watcher.shown.splitlines()
    assert lines[0].endswith("running trials")
    assert lines[1].startswith("1 of 3 trials, 1 running, 1 on the front, hypervolume")
    assert lines[2] == "trial 1: epoch 0.5 of 2"
    assert lines[-2:] == ["trial 0: 0.8500 at 50.0 %", "<b>slow</b>"]
    for number in range(2 * LINES):
        watcher.warn(f"line {number}")
    assert watcher.shown.splitlines()[-LINES:] == [f"line {n}" for n in range(LINES, 2 * LINES)]


def test_it_shows_first_networks_until_a_trial_has_ended(tmp_path: Path) -> None:
    watcher, preview = Told(), Preview(1.5, ((0.9, 0.1), (0.895, 0.4), (0.7, 0.8)))
    watcher.on_preview(0, preview)
    assert watcher.shown.splitlines()[-1] == "trial 0: 0.8950 at 40.0 % so far, after 1.5 epochs"
    told(watcher, tmp_path)
    before = watcher.shown
    watcher.on_preview(1, preview)
    assert watcher.shown == before


def test_a_process_without_a_kernel_is_no_notebook() -> None:
    assert not in_notebook()


def test_ipython_shows_it_once_and_updates_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("IPython")
    from IPython.core.displaypub import CapturingDisplayPublisher
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    published = CapturingDisplayPublisher(parent=shell, shell=shell)
    monkeypatch.setattr(shell, "display_pub", published)
    told(NotebookWatcher(), tmp_path)
    shown = published.outputs
    assert [bool(each.get("update")) for each in shown] == [False] + [True] * (len(shown) - 1)
    assert len({each["transient"]["display_id"] for each in shown}) == 1
    assert "&lt;b&gt;slow" in shown[-1]["data"]["text/html"]
