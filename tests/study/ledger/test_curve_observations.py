"""What the sampler sees beside the trials: points of curves, and no redundant ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from optuna.trial import TrialState

from pipeline.study.ledger import mirror as room
from pipeline.study.ledger.curve_observations import MOST_ROWS, rows_of_record, rows_of_table
from pipeline.study.ledger.ledger import Ledger, open_ledger
from pipeline.study.records import Ask, TrialRecord
from pipeline.study.store import Store
from tests.kit.ledger import optuna_study
from tests.kit.synthetic import point, spec


def ledger(url: str, space_spec=None) -> Ledger:
    from pipeline.study.space import load_space

    return open_ledger(url, space_spec or spec(), load_space("snip", file=None, pretrained=True), trials=16)


def ended(ask: Ask, *, redundant: bool | None = None) -> TrialRecord:
    """A trial with a curve of ten points whose metric falls from 0.95 to 0.5 as compression rises."""
    if redundant is not None:
        return TrialRecord(ask.number, "stopped", "stopped early", ask.params, ask.seed, redundant=redundant)
    points = [
        replace(point(0.95 - 0.05 * at, 0.1 * at), threshold=float("-inf") if at == 0 else 0.05 * at)
        for at in range(10)
    ]
    end = point(0.6 + 0.01 * ask.number, 0.5, kind="recovered")
    return TrialRecord(ask.number, "complete", "", ask.params, ask.seed, points=(*points, end))


def test_rows_are_spread_over_the_useful_part_of_a_curve(tmp_path: Path) -> None:
    record = ended(Ask(0, {"threshold": 0.3, "rounds": 1, "recover_epochs": 3}, 7))
    rows = rows_of_record(record, spec())
    # -inf is no threshold; the last point, 0.5, is no better than the constant prediction
    assert [row.params["threshold"] for row in rows] == pytest.approx([0.05, 0.15, 0.3, 0.4], abs=0.051)
    assert len(rows) == MOST_ROWS
    assert rows[0].values == pytest.approx((0.9, 0.1))
    assert all(row.params["recover_epochs"] == 0 for row in rows)
    assert rows_of_record(replace(record, params=record.params | {"rounds": 2}), spec()) == ()
    assert rows_of_record(replace(record, state="failed"), spec()) == ()
    store = Store(tmp_path)
    store.write_spec(spec())
    store.study("toy").write_record(record)
    assert rows_of_table(store.study("toy").read_points()) == {0: rows}, (
        "a restart sees what the first driver saw"
    )


def test_the_sampler_sees_them_and_the_ledger_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, views = f"sqlite:///{tmp_path}/studies.db", []
    make = room.optuna.create_study

    def watched(**options):
        study = make(**options)
        if "sampler" in options:
            views.append(study)
        return study

    monkeypatch.setattr(room.optuna, "create_study", watched)
    book = ledger(url)
    for _ in range(4):
        ask = book.ask()
        book.tell(ended(ask, redundant=None if ask.number else False))
    redundant = book.ask()
    assert len(views) == 1  # the starts are given
    book.tell(ended(redundant, redundant=True))
    last = book.ask()
    seen = views[-1].get_trials(deepcopy=False)[:-1]  # the last is the draw itself
    assert [t.state for t in seen].count(TrialState.PRUNED) == 1, "the redundant one is not there"
    whole = [t for t in seen if t.state == TrialState.COMPLETE]
    curves = [t for t in whole if t.params.get("recover_epochs") == 0 and t.values[0] > 0.63]
    assert len(whole) > 3
    assert curves
    held = optuna_study(url, "toy").get_trials(deepcopy=False)
    assert [t.number for t in held] == list(range(6))
    assert last.number == 5
    assert held[5].user_attrs["params"] == last.params


def test_a_study_that_is_interrupted_goes_on_with_the_same_draws(tmp_path: Path) -> None:
    whole, parts = (f"sqlite:///{tmp_path}/{name}.db" for name in ("whole", "parts"))
    store = Store(tmp_path / "store")
    store.write_spec(spec())
    book, draws = ledger(whole), []
    for _ in range(8):
        ask = book.ask()
        draws.append(ask.params)
        book.tell(ended(ask))
        store.study("toy").write_record(ended(ask))
    again = []
    for at in range(8):
        other = ledger(parts)
        if at:
            fresh = Store(tmp_path / f"store{at}")
            fresh.write_spec(spec())
            for number in range(at):
                fresh.study("toy").write_record(store.study("toy").read_record(number))
            other.reconcile(fresh)
        ask = other.ask()
        again.append(ask.params)
        other.tell(ended(ask))
    assert again == draws
