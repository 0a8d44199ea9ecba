"""Every command and every piece of Python on the pages runs, on a tiny study. Training alone has a stand-in."""

from __future__ import annotations

from pathlib import Path

import pytest

import pipeline.driver.search.api
import pipeline.driver.search.seeds
from pipeline.cli.app import run
from pipeline.driver.search.check import check
from pipeline.driver.search.request import Search
from pipeline.fronts.front import Front, load_front
from pipeline.study.store import Store
from pipeline.trial.latency import timing
from tests.kit.documents import ROOT, SHELL, Block, blocks, pages
from tests.kit.pages_folder import OWN

# Not ours: what other programs do is theirs to test; that make's targets exist is held by test_pages.
OUTSIDE = ("make", "source", "ray", "mlflow", "pip")


def to_run(page: Path) -> list[Block]:
    return [block for block in blocks(page) if block.language in (*SHELL, "python") and not block.reason]


PAGES = [page for page in pages() if to_run(page)]


def trained(request: Search, watcher: object) -> Front:
    """Stands in for `run`: the request is checked, and the front of a study that is there comes back."""
    check(request)
    assert request.task.startswith("builtin/") or Path(request.task).is_file(), request.task
    name = request.name or f"{Path(request.task).stem}-{Path(request.model).name}-{request.method}"
    there = {path.name for path in (Path(request.store) / "studies").iterdir()}
    return load_front(name if name in there else OWN, store=request.store)


@pytest.fixture(autouse=True)
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline.driver.search.seeds, "run", trained)
    monkeypatch.setattr(pipeline.driver.search.api, "run", trained)
    monkeypatch.setattr(timing, "WHOLE_SECONDS", 0.05)
    monkeypatch.setattr(timing, "WHOLE_ROUNDS", 2)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_shows_runs(page: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for block in to_run(page):
        if block.language == "python":
            exec(compile(block.text, block.place, "exec"), {"__name__": "__main__"})
            continue
        for words in block.commands():
            if words[0] in OUTSIDE:
                continue
            assert words[0] == "prunefront", f"{block.place}: {words}"
            code = run(tiny(words[1:]))
            printed = capsys.readouterr()
            assert code == 0, f"{block.place}: {' '.join(words)}\n{printed.err}"
            assert printed.out or printed.err, f"{block.place}: {words}"


def tiny(words: list[str]) -> list[str]:
    """The command with the model of the study that the store has, where the model is really read: nothing is probed."""
    if words[0] == "plan":
        model = Store(Path("mlflow_runs")).study(OWN).read_spec().model
        return [model if word == "bert-base-uncased" else word for word in words]
    return words


def test_reasons_are_given_where_nothing_is_run() -> None:
    reasons = {block.reason for page in pages() for block in blocks(page) if block.reason}
    assert all(len(reason.split()) > 1 for reason in reasons), reasons
