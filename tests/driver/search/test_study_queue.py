"""The queue of a study's trials, with a real ledger, store and MLflow database, and no trials that train."""

from __future__ import annotations

import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.driver.execute import Loss
from pipeline.driver.search import study_results, trial_source
from pipeline.driver.search.budget import Budget, Meter
from pipeline.driver.search.study_queue import StudyQueue
from pipeline.driver.search.study_results import StudyResults
from pipeline.driver.search.trial_source import TrialSource
from pipeline.driver.search.watcher import Preview, SearchProgress, Watcher
from pipeline.driver.tracking import Publisher, open_tracking
from pipeline.fronts.front import load_front
from pipeline.study.halving import Halving
from pipeline.study.ledger import Ledger, LedgerLost, hold, open_ledger
from pipeline.study.records import TUNED, Ask, Rung, StudySpec, TrialRecord
from pipeline.study.space import load_space
from pipeline.study.store import Store
from tests.kit.synthetic import point, record, spec

pytestmark = pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy"
)  # MLflow's, of SQLAlchemy 2.1
TRIALS = 6


class Remembering(Watcher):
    """Keeps what it is shown."""

    def __init__(self) -> None:
        self.ended: list[int] = []
        self.warnings: list[str] = []
        self.previews: dict[int, Preview] = {}

    def on_change(self, progress: SearchProgress, record: TrialRecord | None) -> None:
        if record is not None:
            self.ended.append(record.number)

    def on_preview(self, number: int, preview: Preview) -> None:
        self.previews[number] = preview

    def warn(self, message: str) -> None:
        self.warnings.append(message)


class Study:
    """One driver's queue over a store."""

    def __init__(self, store: Store, made: StudySpec, ledger: Ledger) -> None:
        self.store, self.watcher = store, Remembering()
        reach = partial(open_tracking, None, store_root=store.root)
        publisher = Publisher(
            made, store=store, open_tracker=reach, may_write=lambda: None, address="the store"
        )
        publisher.start(reach())
        meter = Meter(store, made.name, gpus_per_trial=0.0)
        self.queue = StudyQueue(
            TrialSource(ledger, Budget(TRIALS), meter, warn=self.watcher.warn),
            StudyResults(made, store),
            publisher=publisher,
            watcher=self.watcher,
            halving=Halving(made.values, made.reference_point, eta=2, least_seen=2),
        )
        self.queue.settle()

    def write(self, number: int, metric: float, compression: float) -> None:
        """A worker's last act: the record of a running trial."""
        ask = self.queue.source.running[number]
        made = record(number, point(metric, compression, kind="recovered"))
        self.store.study("toy").write_record(replace(made, params=ask.params, seed=ask.seed))


@pytest.fixture
def made() -> StudySpec:
    return replace(spec(), sampler="random")


@pytest.fixture
def store(tmp_path: Path, made: StudySpec, mlflow_database: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    found = Store(tmp_path / "store")
    found.write_spec(made)
    shutil.copy(mlflow_database, found.mlflow_db)
    return found


@contextmanager
def study(store: Store, made: StudySpec) -> Iterator[Study]:
    url = f"sqlite:///{store.studies_db}"
    with hold(url, made.name) as lease:
        space = load_space("snip", file=None, pretrained=True)
        yield Study(store, made, open_ledger(url, made, space, trials=TRIALS, lease=lease))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, int, str]]:
    """How often each file of each trial was read, by thread."""
    counted: Counter[tuple[str, int, str]] = Counter()
    read = Path.read_bytes

    def counting(path: Path) -> bytes:
        if path.parent.parent.name == "trials":
            counted[threading.current_thread().name, int(path.parent.name), path.name] += 1
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", counting)
    return counted


def test_a_record_is_read_once_by_the_driver_and_once_by_the_publisher(
    store: Store,
    made: StudySpec,
    reads: Counter[tuple[str, int, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(study_results, "GATHER_EVERY", 2)  # gathered in between, too
    with study(store, made) as running:
        queue = running.queue
        for number in range(4):
            ask = queue.next()
            assert ask is not None
            assert ask.number == number
            if number == 3:
                assert queue.on_rung(3, Rung(0, 0.5, 8, metric=(0.9,), compression=(0.5,)))
            running.write(number, 0.9 - 0.1 * number, 0.2 * number)
            queue.on_end(number, None)
        assert queue.next() is not None
        assert not queue.on_rung(4, Rung(0, 0.5, 8, metric=(0.5,), compression=(0.0,)))
        queue.on_stop(4)  # it has left nothing
        assert queue.next() is not None
        queue.on_end(5, "worker lost")
        queue.close()
    names = ("record.json", "record.npz")
    once = {(thread, n, name) for thread in ("MainThread", "publisher") for n in range(6) for name in names}
    assert reads == dict.fromkeys(once, 1)
    assert running.watcher.ended == list(range(6))
    assert running.watcher.warnings == []

    reads.clear()
    found = load_front("toy", store=store.root)
    assert reads == {}, "all of them were gathered"
    assert [p.trial for p in found.points] == [0, 1, 2, 3]
    assert found.left_out == {"stopped": 1, "failed": 1}
    again = Store(store.root)
    gathered = again.study("toy").read_table()
    (store.study("toy").folder / "points.arrow").unlink()
    assert same_rows(gathered, again.study("toy").read_table())


def test_networks_at_a_rung_are_shown_and_no_trial_ends_where_its_tuning_does(
    store: Store, made: StudySpec
) -> None:
    # the constant prediction has 0.5; (0.8, 0.1) is dominated, the bare network is no better than the constant
    looked = Rung(0, 7.5, 8, metric=(0.9, 0.8, 0.895, 0.6, 0.5), compression=(0.0, 0.1, 0.2, 0.5, 1.0))
    with study(store, made) as running:
        queue, shown = running.queue, running.watcher.previews
        for number in range(3):
            assert queue.next() is not None
            assert queue.on_rung(number, replace(looked, index=TUNED)), "worse than none: but it is no rung"
        assert queue.on_rung(0, looked)
        assert shown[0] == Preview(7.5, ((0.9, 0.0), (0.895, 0.2), (0.6, 0.5)))
        assert str(shown[0]) == "0.8950 at 20.0 % so far, after 7.5 epochs"
        shown.clear()
        assert not queue.on_rung(1, replace(looked, metric=(0.5,), compression=(0.9,)))
        assert shown == {}, "nothing there is better than a constant"
        queue.close()


def test_a_trial_whose_process_dies_three_times_is_given_up_and_one_whose_node_is_lost_is_not(
    store: Store, made: StudySpec
) -> None:
    with study(store, made) as running:
        queue, files = running.queue, store.study("toy")
        for number, loss in enumerate(
            (Loss(), Loss(node_lost=True), Loss(reason="out of memory: none left"))
        ):
            assert queue.next() is not None
            for _ in range(3):
                assert not files.has_record(number)
                assert not queue.on_restart(number, loss), "its attempt had not begun: the executor counts"
                files.attempts(number).begin()
                assert queue.on_restart(number, loss)
            assert files.has_record(number) == (not loss.node_lost)
        assert [files.read_record(number).reason for number in (0, 2)] == [
            "worker lost 3 times",
            "out of memory: none left",
        ]
        assert running.watcher.warnings[5] == (
            "Trial 0 has lost its process; it is given up (worker lost 3 times)."
        )
        assert (
            running.watcher.warnings[-7] == "Trial 1 has lost its node; it goes on from its last checkpoint."
        )
        queue.on_end(0, None)  # the next process finds the record
        assert queue.source.counts().failed == 1
        queue.close()


def same_rows(one: pa.Table, other: pa.Table) -> bool:
    return bool(one.to_pylist() == other.to_pylist())


def test_what_a_driver_left_is_read_once_for_the_ledger_of_the_next(
    store: Store, made: StudySpec, reads: Counter[tuple[str, int, str]]
) -> None:
    with study(store, made) as killed:
        killed.queue.next()
        killed.write(0, 0.8, 0.3)  # its driver dies before it has read this
    reads.clear()
    with study(store, made) as running:
        assert reads["MainThread", 0, "record.npz"] == 1
        assert running.queue.source.counts().complete == 1
        assert running.queue.results.front is not None
        assert [p.trial for p in running.queue.results.front.points] == [0]
        running.queue.close()


def test_volumes_of_earlier_trials_are_replayed_in_the_order_of_their_ends(
    store: Store, made: StudySpec
) -> None:
    # above the constant (0.5): (0.7, 0.5) has 0.2 × 0.5 = 0.1; (0.9, 0.25) adds 0.2 × 0.25 = 0.05
    store.study("toy").write_record(record(1, point(0.7, 0.5, kind="recovered")))
    store.study("toy").write_record(record(0, point(0.9, 0.25, kind="recovered")))
    results = StudyResults(made, store)
    results.start(recall_volumes=True)
    assert results.volumes == pytest.approx([0.1, 0.15])


class Flaky:
    """A ledger that does not answer at times; what it was asked has reached it, or has not."""

    def __init__(self, *, reached: bool) -> None:
        self.reached, self.away = reached, True
        self.drawn: list[int] = []

    def ask(self) -> Ask:
        ask = Ask(len(self.drawn), {}, 0)
        if self.away:
            self.away = False
            if self.reached:
                self.drawn.append(ask.number)
            raise LedgerLost("The ledger is away.")
        self.drawn.append(ask.number)
        return ask

    def owed(self) -> tuple[Ask, ...]:
        return tuple(Ask(number, {}, 0) for number in self.drawn)

    def counts(self) -> object:
        return type("Counts", (), {"ended": 0, "running": len(self.drawn)})


@pytest.mark.parametrize("reached", [True, False])
def test_a_trial_whose_answer_was_lost_is_taken_up_and_not_drawn_again(
    reached: bool, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial_source, "RETRY_PAUSES_S", (0.0, 0.0))
    ledger, warnings = Flaky(reached=reached), list[str]()
    meter = Meter(store, "toy", gpus_per_trial=0.0)
    source = TrialSource(ledger, Budget(2), meter, warn=warnings.append)  # type: ignore[arg-type]
    first, second = source.next([]), source.next([])
    assert first is not None
    assert second is not None
    assert [first.number, second.number] == [0, 1]
    assert source.next([]) is None
    assert ledger.drawn == [0, 1]
    assert warnings == ["The ledger is away. Trying again in 0.0 s."]
