"""Names and notes say what came of a study and of a trial, and fit into MLflow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pipeline.driver.tracking import notes
from pipeline.fronts.front import front_of
from pipeline.study.records import TrialRecord
from tests.kit.tracking import SPEC, record, stored, trials

MOST = 8000  # letters that MLflow takes


def note_of(folder: Path, records: list[TrialRecord]) -> str:
    return notes.study_note(front_of(stored(folder, records)), table="#/table", charts="#/charts")


def test_names_say_what_came_of_a_trial() -> None:
    assert notes.trial_name(record(7, recovered=(0.8125, 0.5625))) == "trial 0007 · 0.812 @ 56 %"
    assert (
        notes.trial_name(record(3, state="failed", reason="out of memory"))
        == "trial 0003 · failed: out of memory"
    )
    assert notes.trial_name(record(4, state="stopped")) == "trial 0004 · stopped"
    assert len(notes.trial_name(record(12345, state="failed", reason="word " * 500))) <= 90


def test_a_studys_note_has_its_front(tmp_path: Path) -> None:
    lines = note_of(tmp_path, trials()).splitlines()
    rows = [
        [cell.replace("&emsp;", "").strip() for cell in line.split("|")[1:-1]]
        for line in lines
        if "%" in line
    ]
    assert rows[0] == ["0.0 %", "0.9000", "", "0.00 M", "0.00 MB", "0.01 M", "", "dense"]
    assert rows[2] == ["25.0 %", "0.8500", "-0.0500", "0.00 M", "0.00 MB", "0.00 M", "0", "recovered"]
    assert [row[0] for row in rows] == ["0.0 %", "0.0 %", "25.0 %", "50.0 %", "75.0 %", "90.0 %", "100.0 %"]
    text = "\n".join(lines)
    assert "**6 networks** on the front, from 6 trials (1 failed, 1 stopped): [table](#/table)" in text
    assert "Normalised hypervolume **0.653**" in text  # 0.5225 / 0.8
    assert "Left out, 1 ×: the loss is not a number" in text


def test_a_long_front_and_long_reasons_fit(tmp_path: Path) -> None:
    curve = [(0.9 - 0.0015 * n, n / 500) for n in range(1, 500)]
    failed = [record(n, state="failed", reason=f"{n} " + "why " * 2000) for n in range(1, 9)]
    text = note_of(tmp_path, [record(0, *curve, recovered=(0.1, 0.1)), *failed])
    assert len(text) < MOST
    assert "| 0.2 %" in text  # both ends are there
    assert "| 99.8 %" in text
    assert "18 of 499 rows" in text


def test_a_study_that_found_nothing_has_a_note(tmp_path: Path) -> None:
    assert "**0 networks**" in note_of(tmp_path, [record(0, state="failed", reason="r")])


def test_a_trials_note_has_how_it_ended() -> None:
    assert "accuracy **0.8000** at **50.0 %** compression (dense 0.9000" in notes.trial_note(record(0), SPEC)
    assert "**failed**: out of memory (epochs trained: 1)" in notes.trial_note(
        record(1, state="failed", reason="out of memory"), SPEC
    )
    assert "Remark: at chance" in notes.trial_note(replace(record(2), reason="at chance"), SPEC)
    assert len(notes.trial_note(record(3, state="failed", reason="x" * 20_000), SPEC)) < MOST
