"""What the trials of one process share: Ray makes it anew for each, and what is kept by identity is kept once."""

import copy
from dataclasses import replace

from pipeline.driver.execute import trials
from pipeline.driver.execute.trials import _same, _TrialShared


def test_trials_of_one_run_share_what_the_first_one_received(tmp_path, monkeypatch):
    monkeypatch.setattr(trials, "_RECEIVED", [])
    first = _TrialShared(object(), tmp_path, "toy", 1.0, None, 60.0, 0.0, "s", "run")  # type: ignore[arg-type]
    assert _same(first) is first
    assert _same(copy.copy(first)) is first
    other = replace(first, run="another")
    assert _same(other) is other, "another start of the study has inputs of its own"
    assert _same(first) is first
    unnamed = [replace(first, run="") for _ in range(2)]
    assert all(_same(each) is each for each in unnamed)
