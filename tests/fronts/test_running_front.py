"""A front that is kept up to date is the front of all trials together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.fronts.front import front_of
from pipeline.fronts.running_front import RunningFront
from pipeline.study.store import Store
from tests.kit.synthetic import point, record, spec

VALUE = st.sampled_from(
    [0.4, 0.5, 0.55, 0.6, 0.7, 0.85, 0.95]
)  # some no better than the constant (0.5); ties
SHARE = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 0.9])
TRIAL = st.tuples(
    st.lists(st.tuples(VALUE, SHARE), max_size=4),
    st.sampled_from(["complete", "complete", "stopped", "failed"]),
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(TRIAL, min_size=1, max_size=7), st.integers(0, 3))
def test_a_tally_is_the_front_of_all_its_trials(
    trials: list[tuple[list[tuple[float, float]], str]], begun: int
) -> None:
    with TemporaryDirectory() as folder:
        store = Store(Path(folder))
        store.write_spec(spec())
        for number, (points, state) in enumerate(trials[:begun]):
            store.study("toy").write_record(
                record(number, *(point(*p) for p in points), state=state, reason=state)
            )
        tally = RunningFront(spec(), store.study("toy").read_table())
        for number, (points, state) in enumerate(trials[begun:], start=min(begun, len(trials))):
            store.study("toy").write_record(
                record(number, *(point(*p) for p in points), state=state, reason=state)
            )
            tally.add(store.study("toy").read_trial(number)[1])
        whole = front_of(store.study("toy").read_points())
        order = sorted(range(len(whole.points)), key=lambda at: repr(whole.points[at]))
        same = sorted(range(len(tally.front.points)), key=lambda at: repr(tally.front.points[at]))
        assert [whole.points[at] for at in order] == [tally.front.points[at] for at in same]
        assert replace(tally.front, points=()) == replace(whole, points=())
