"""The store: what is written comes back, whole or not at all, and tables say what the records say."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.study.records import (
    Anchors,
    BadInput,
    HistoryRow,
    Masks,
    Measurement,
    Point,
    StudySpec,
    TrialRecord,
)
from pipeline.study.store import Store, load_record, mark_died, save_record
from pipeline.study.store.table import COLUMNS, from_bytes, still_valid, to_bytes

NAN, INF = float("nan"), float("inf")


def spec_of(name: str = "sst2-snip") -> StudySpec:
    anchors = Anchors(0.5, 0.9, 1e-4, 9.0, 100, 80, 1000, 0.4)
    toml = "[threshold]\nvalue = 0.1  # größer\n"
    return StudySpec(
        name, "glue/sst2", "f00", "accuracy", 3, "bert", "ba5e", "snip", toml, "tpe", 7, "fp32", anchors
    )


def point_of(metric: float, compression: float, **changes: Any) -> Point:
    masks = Masks(
        heads=np.array([[True, False], [False, False]]),
        neurons=np.array([[True] * 9, [False] * 9]),
        layers=np.array([True, False]),
    )
    measurement = Measurement(metric, {"accuracy": metric, "f1": NAN}, compression, 0.1, 90, 70, 2**40, 0.25)
    predictions = np.array([0, 1, 1], np.int16)
    return replace(Point("curve", 0, 0.25, measurement, masks, predictions), **changes)


def record_of(number: int = 3, **changes: Any) -> TrialRecord:
    record = TrialRecord(
        number,
        "complete",
        "",
        {"penalty": 0.5, "level": "block", "rounds": 2, "fold": False},
        seed=2**63 - 1,
        points=(point_of(0.9, 0.0), point_of(0.8, 0.5, kind="recovered", round=1)),
        history=(
            HistoryRow("tune", 0, 0.5, {"loss": NAN, "norm/ffn.0": INF}),
            HistoryRow("recover", 1, 2.0, {}),
        ),
        epochs=2.0,
        seconds=12.5,
        attempts=2,
        provenance={"commit": "abc+"},
    )
    return replace(record, **changes)


def plain(value: Any) -> Any:
    """Something that `==` compares to the last bit, types and NaN included."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, tuple | list):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return [(k, plain(v)) for k, v in value.items()]
    if isinstance(value, float):
        return "float", "nan" if math.isnan(value) else value.hex()
    if value is None or isinstance(value, bool | int | str):
        return type(value).__name__, value
    return type(value).__name__, [(f.name, plain(getattr(value, f.name))) for f in fields(value)]


numbers = st.floats(allow_nan=True, allow_infinity=True)
counts = st.integers(0, 2**62)
texts = st.text(max_size=8)
params = st.dictionaries(
    texts, st.one_of(st.booleans(), st.integers(-(2**62), 2**62), numbers, texts), max_size=4
)
scalars = st.dictionaries(texts, numbers, max_size=3)
measurements = st.builds(
    Measurement,
    numbers,
    scalars,
    numbers,
    numbers,
    counts,
    counts,
    counts,
    numbers,
    st.one_of(st.none(), numbers),
)


@st.composite
def records(draw: st.DrawFn) -> TrialRecord:
    layers, heads, neurons, rows = (draw(st.integers(0, most)) for most in (3, 4, 20, 5))
    kind = draw(st.sampled_from([np.int16, np.float32]))

    def point() -> Point:
        bits = (draw(arrays(np.bool_, shape)) for shape in ((layers, heads), (layers, neurons), (layers,)))
        return Point(
            draw(st.sampled_from(["recovered", "curve"])),
            draw(st.integers(0, 5)),
            draw(numbers),
            draw(measurements),
            Masks(*bits),
            draw(arrays(kind, (rows,))),
        )

    history = st.builds(HistoryRow, st.sampled_from(["tune", "recover"]), st.integers(0, 3), numbers, scalars)
    return TrialRecord(
        number=draw(st.integers(0, 99999)),
        state=draw(st.sampled_from(["complete", "stopped", "failed"])),
        reason=draw(texts),
        params=draw(params),
        seed=draw(st.integers(0, 2**64)),
        points=tuple(point() for _ in range(draw(st.integers(0, 3)))),
        history=tuple(draw(st.lists(history, max_size=3))),
        epochs=draw(numbers),
        seconds=draw(numbers),
        attempts=draw(st.integers(1, 9)),
        provenance=draw(st.dictionaries(texts, texts, max_size=2)),
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "runs")
    store.write_spec(spec_of())
    return store


class TestRecord:
    @given(records())
    def test_round_trip_is_the_identity(self, record: TrialRecord) -> None:
        with tempfile.TemporaryDirectory() as folder:
            save_record(Path(folder) / "new", record)
            assert plain(load_record(Path(folder) / "new")) == plain(record)

    @pytest.mark.parametrize(
        "record",
        [
            record_of(),
            record_of(state="failed", reason="loss is nan", points=(), history=(), epochs=0.25),
            record_of(state="stopped", reason="rung 1"),
            record_of(points=(point_of(NAN, -INF, predictions=np.array([0.5, NAN, -INF], np.float32)),)),
        ],
        ids=["complete", "failed", "stopped", "not finite"],
    )
    def test_in_a_store(self, store: Store, record: TrialRecord) -> None:
        assert not store.study("sst2-snip").has_record(3)
        store.study("sst2-snip").write_record(record)
        assert store.study("sst2-snip").has_record(3)
        assert plain(store.study("sst2-snip").read_record(3)) == plain(record)

    def test_numpy_scalars_come_back_as_numbers(self, tmp_path: Path) -> None:
        measurement = replace(point_of(0.5, 0.5).measurement, metric=np.float32(0.1), parameters=np.int64(7))
        save_record(tmp_path, record_of(points=(point_of(0, 0, measurement=measurement),)))
        back = load_record(tmp_path).points[0].measurement
        assert (back.metric, back.parameters) == (float(np.float32(0.1)), 7)
        assert (type(back.metric), type(back.parameters)) == (float, int)

    def test_half_a_character_in_a_reason_loses_no_record(self, tmp_path: Path) -> None:
        save_record(tmp_path, record_of(reason="no file \udcff"))
        assert load_record(tmp_path).reason == "no file ?"

    def test_masks_take_bits(self, tmp_path: Path) -> None:
        # 32 points of BERT-base and 872 rows: 32 (12 · 3072 bits + 872 · 2 bytes) are 203 kB.
        rng = np.random.default_rng(0)
        big = point_of(0.5, 0.5, predictions=rng.integers(-(2**15), 2**15, 872).astype(np.int16))
        noise = replace(big.masks, neurons=rng.random((12, 3072)) < 0.5)
        save_record(tmp_path, record_of(points=(replace(big, masks=noise),) * 32))
        assert (tmp_path / "record.npz").stat().st_size < 210_000

    def test_predictions_of_different_rows_or_types_are_refused(self, tmp_path: Path) -> None:
        for odd in (np.array([0, 1], np.int16), np.array([0, 1, 1], np.float32)):
            with pytest.raises(ValueError, match="same rows"):
                save_record(tmp_path, record_of(points=(point_of(0, 0), point_of(0, 0, predictions=odd))))
        with pytest.raises(ValueError, match="numbers of one type"):
            save_record(tmp_path, record_of(points=(point_of(0, 0, predictions=np.array([None] * 3)),)))
        assert list(tmp_path.iterdir()) == []

    def test_of_a_newer_program(self, tmp_path: Path) -> None:
        save_record(tmp_path, record_of())
        document = json.loads((tmp_path / "record.json").read_text())
        (tmp_path / "record.json").write_text(json.dumps(document | {"format": 2, "points": "new"}))
        with pytest.raises(
            BadInput, match=r"record\.json has format 2, and this prunefront knows up to 1\. Install"
        ):
            load_record(tmp_path)

    @pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 1}', '{"format": null}', "\udcff"])
    def test_damaged_json(self, tmp_path: Path, text: str) -> None:
        save_record(tmp_path, record_of())
        (tmp_path / "record.json").write_bytes(text.encode("utf-8", "surrogateescape"))
        with pytest.raises(BadInput, match=r"record\.json is damaged"):
            load_record(tmp_path)

    def test_arrays_of_another_write_are_noticed(self, tmp_path: Path) -> None:
        save_record(tmp_path / "a", record_of())
        other = point_of(0.8, 0.5, predictions=np.array([1, 1, 1], np.int16))
        save_record(tmp_path / "b", record_of(points=(other, other)))
        (tmp_path / "a" / "record.npz").replace(tmp_path / "b" / "record.npz")
        with pytest.raises(BadInput, match=r"record\.npz is damaged: it is not the file"):
            load_record(tmp_path / "b")
        with pytest.raises(BadInput, match=r"record\.npz cannot be read: No such file"):
            load_record(tmp_path / "a")

    def test_a_killed_writer_leaves_whole_records_or_none(self, tmp_path: Path) -> None:
        code = (
            "import sys; sys.path.insert(0, sys.argv[2])\n"
            "from test_store import *\n"
            "print('ready', flush=True)\n"
            "for number in range(100000): Store(Path(sys.argv[1])).study('s').write_record(record_of(number))"
        )
        for _ in range(2):
            command = [sys.executable, "-c", code, str(tmp_path), str(Path(__file__).parent)]
            with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
                assert process.stdout is not None
                process.stdout.readline()
                deadline = time.monotonic() + 60
                while not list(tmp_path.rglob("record.json")) and time.monotonic() < deadline:
                    time.sleep(0.01)
                time.sleep(0.2)  # into the middle of another one
                process.send_signal(signal.SIGKILL)
            finished = Store(tmp_path).study("s").finished_numbers()
            assert finished
            for number in finished:
                assert plain(Store(tmp_path).study("s").read_record(number)) == plain(record_of(number))

    def test_a_full_disk_leaves_what_was_there(self, tmp_path: Path) -> None:
        save_record(tmp_path, record_of(reason="first"))
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        code = (
            "import resource, signal, sys; sys.path.insert(0, sys.argv[2])\n"
            "from test_store import *\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
            "save_record(Path(sys.argv[1]), record_of(reason='second'))"
        )
        command = [sys.executable, "-B", "-c", code, str(tmp_path), str(Path(__file__).parent)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert "OSError: [Errno 27] File too large" in done.stderr
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


class TestStudies:
    def test_paths(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        store = Store(Path("runs"))
        root = tmp_path.resolve() / "runs"
        assert store.root == root  # absolute: a worker has another working folder
        assert store.studies_db == root / "studies.db"
        assert store.mlflow_db == root / "mlflow.db"
        assert store.artifacts == root / "artifacts"
        assert store.cache == root / "cache"
        assert store.study("a").folder == root / "studies" / "a"
        assert store.study("a").origin.model() == root / "studies" / "a" / "model"
        assert store.study("a").trial_folder(7) == root / "studies" / "a" / "trials" / "00007"
        assert not root.exists()

    def test_spec_comes_back(self, store: Store) -> None:
        assert store.study("sst2-snip").read_spec() == spec_of()
        assert (store.study("sst2-snip").folder / "space.toml").read_text() == spec_of().space_toml

    def test_studies_are_those_with_a_spec(self, store: Store) -> None:
        store.write_spec(spec_of("b.1"))
        store.study("no-spec").write_record(record_of())
        assert store.list_studies() == ["b.1", "sst2-snip"]
        assert store.study("b.1").exists()
        assert not store.study("no-spec").exists()
        assert Store(store.root / "elsewhere").list_studies() == []

    def test_unknown_study_lists_the_known(self, store: Store) -> None:
        store.write_spec(spec_of("b.1"))
        study = store.study("sst3")
        for read in (
            study.read_spec,
            study.read_points,
            study.read_validation,
            lambda: study.read_record(0),
        ):
            with pytest.raises(BadInput, match=r"no study 'sst3'\. Its studies: b\.1, sst2-snip\."):
                read()
        with pytest.raises(BadInput, match="Its studies: none"):
            Store(store.root / "elsewhere").study("a").read_spec()

    @pytest.mark.parametrize(
        "name",
        ["", ".", "..", "../x", "a/b", "a\\b", "/abs", "-rf", ".hidden", "a b", "ä", "a\n", "x\0", "a" * 101],
    )
    def test_names_with_tricks_are_refused(self, store: Store, name: str) -> None:
        with pytest.raises(BadInput, match="cannot name a study"):
            store.study(name)
        with pytest.raises(BadInput, match="cannot name a study"):
            store.write_spec(spec_of(name))

    @pytest.mark.parametrize("name", ["a", "7", "glue-sst2_snip.v2", "a" * 100])
    def test_names(self, store: Store, name: str) -> None:
        assert store.study(name).folder.parent == store.root / "studies"

    @pytest.mark.parametrize("labels", [np.array([0, 2, 1]), np.array([0.5, NAN, 5.0], np.float32)])
    def test_validation_rows_come_back(self, store: Store, labels: np.ndarray) -> None:
        with pytest.raises(BadInput, match=r"validation\.npz is missing"):
            store.study("sst2-snip").read_validation()
        store.study("sst2-snip").write_validation(["train/7", "é", ""], labels)
        ids, back = store.study("sst2-snip").read_validation()
        assert ids == ["train/7", "é", ""]
        assert plain(back) == plain(labels)

    def test_attempts_are_counted_and_never_shared(self, store: Store) -> None:
        assert store.study("a").attempts(0).count() == 0
        first, second = store.study("a").attempts(0).begin(), store.study("a").attempts(0).begin()
        assert first.is_dir()
        assert [first.name[:10], second.name[:10]] == ["attempt-01", "attempt-02"]
        assert store.study("a").attempts(0).count() == 2
        assert store.study("a").attempts(1).count() == 0
        for _ in range(9):
            last = store.study("a").attempts(0).begin()
        assert sorted(last.parent.glob("attempt-*"))[-1] == last  # also after the tenth

    def test_a_trial_whose_processes_die_three_times_in_a_row_is_given_up(self, store: Store) -> None:
        attempts = store.study("a").attempts(0)
        for died in range(1, 4):
            mark_died(attempts.begin())
            assert attempts.given_up() == ("" if died < 3 else "worker lost 3 times")
        mark_died(attempts.begin(), "out of memory: the node had none left")
        assert attempts.given_up() == "out of memory: the node had none left"
        (attempts.begin() / "checkpoint-000-0000001").mkdir()  # it has got on
        assert attempts.given_up() == ""

    def test_attempts_whose_driver_or_machine_was_lost_count_only_as_ten(self, store: Store) -> None:
        attempts = store.study("a").attempts(0)
        for begun in range(1, 11):
            assert attempts.given_up() == ""
            attempts.begin()
            assert attempts.count() == begun
        assert attempts.given_up() == "10 attempts in a row ended before one had written a new checkpoint"

    def test_attempts_that_a_person_interrupted_do_not_count(self, store: Store) -> None:
        attempts = store.study("a").attempts(0)
        attempts.mark_interrupted()  # none has begun
        for _ in range(12):
            attempts.begin()
            attempts.mark_interrupted()
            assert attempts.given_up() == ""

    def test_attempts_of_many_processes_at_once(self, tmp_path: Path) -> None:
        code = "import sys; from pathlib import Path; from pipeline.study.store import Store\n"
        code += "for _ in range(20): print(Store(Path(sys.argv[1])).study('a').attempts(0).begin().name)"
        command = [sys.executable, "-c", code, str(tmp_path)]
        running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        given = [name for process in running for name in process.communicate()[0].split()]
        assert len(set(given)) == 40
        assert max(given).startswith(("attempt-2", "attempt-3", "attempt-4"))

    def test_asking_leaves_nothing(self, tmp_path: Path) -> None:
        Store(tmp_path / "deep" / "er").check_writable()
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("place", ["file/runs", "file"])
    def test_below_a_file_nothing_is_written(self, tmp_path: Path, place: str) -> None:
        (tmp_path / "file").write_text("mine")
        with pytest.raises(BadInput, match=rf"{place} cannot be written: .*\. Choose another folder"):
            Store(tmp_path / place).check_writable()
        assert (tmp_path / "file").read_text() == "mine"

    @pytest.mark.skipif(
        not Path("/proc/self").exists(), reason="needs a file system that refuses writes to root, too"
    )
    def test_file_system_that_refuses(self) -> None:
        with pytest.raises(BadInput, match="/proc cannot be written: "):
            Store(Path("/proc")).check_writable()


class TestTable:
    def test_has_what_the_records_have(self, store: Store) -> None:
        records = [
            record_of(0),
            record_of(1, state="failed", reason="loss is nan", points=(), epochs=0.5),
            record_of(2, points=(point_of(0.7, 0.2),)),
        ]
        for record in reversed(records):
            store.study("sst2-snip").write_record(record)
        rows = store.study("sst2-snip").read_table().to_pylist()
        assert [(row["number"], row["point"]) for row in rows] == [(0, 0), (0, 1), (1, None), (2, 0)]
        for row in rows:
            record = records[row["number"]]
            assert (row["state"], row["reason"]) == (record.state, record.reason)
            assert (row["epochs"], row["seconds"]) == (record.epochs, record.seconds)
            assert json.loads(row["params"]) == record.params
            point = None if row["point"] is None else record.points[row["point"]]
            for name in ("kind", "round", "threshold"):
                assert row[name] == (None if point is None else getattr(point, name))
            for field in fields(Measurement):
                expected = None if point is None else getattr(point.measurement, field.name)
                found = dict(row["metrics"]) if field.name == "metrics" and point else row[field.name]
                assert plain(found) == plain(expected)

    def test_of_no_trials(self, store: Store) -> None:
        table = store.study("sst2-snip").read_table()
        assert (len(table), table.schema) == (0, COLUMNS)

    def test_gathering_changes_nothing_that_is_read(self, store: Store) -> None:
        file = store.study("sst2-snip").folder / "points.arrow"
        store.study("sst2-snip").gather()
        assert not file.exists()
        for number in (5, 1, 7):
            store.study("sst2-snip").write_record(record_of(number))
            before = store.study("sst2-snip").read_table()
            store.study("sst2-snip").gather()
            assert plain(store.study("sst2-snip").read_table().to_pylist()) == plain(before.to_pylist())
            assert plain(from_bytes(file.read_bytes()).to_pylist()) == plain(before.to_pylist())
        assert store.study("sst2-snip").read_table()["number"].to_pylist() == [1, 1, 5, 5, 7, 7]

    def test_gathered_records_are_not_read_again(self, store: Store) -> None:
        store.study("sst2-snip").write_record(record_of(0))
        store.study("sst2-snip").gather()
        json_file = store.study("sst2-snip").trial_folder(0) / "record.json"
        status = json_file.stat()
        json_file.write_text("no longer JSON".ljust(status.st_size))
        os.utime(json_file, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert len(store.study("sst2-snip").read_table()) == 2

    def test_nothing_new_writes_nothing(self, store: Store) -> None:
        store.study("sst2-snip").write_record(record_of(0))
        store.study("sst2-snip").gather()
        file = store.study("sst2-snip").folder / "points.arrow"
        inode = file.stat().st_ino, file.stat().st_mtime_ns
        store.study("sst2-snip").gather()
        assert (file.stat().st_ino, file.stat().st_mtime_ns) == inode

    def test_records_written_anew_or_removed_are_noticed(self, store: Store) -> None:
        for number in range(3):
            store.study("sst2-snip").write_record(record_of(number))
        store.study("sst2-snip").gather()
        time.sleep(0.02)  # more than a file system's clock tick
        save_record(store.study("sst2-snip").trial_folder(1), record_of(1, seconds=99.0))
        (store.study("sst2-snip").trial_folder(2) / "record.json").unlink()
        for _ in range(2):
            table = store.study("sst2-snip").read_table()
            assert table["number"].to_pylist() == [0, 0, 1, 1]
            assert table["seconds"].to_pylist() == [12.5, 12.5, 99.0, 99.0]
            store.study("sst2-snip").gather()

    @pytest.mark.parametrize("spoil", ["torn", "flipped", "other columns", "other format"])
    def test_a_table_that_cannot_be_used_is_made_again(self, store: Store, spoil: str) -> None:
        store.study("sst2-snip").write_record(record_of(0))
        store.study("sst2-snip").gather()
        file = store.study("sst2-snip").folder / "points.arrow"
        table = from_bytes(file.read_bytes())
        data = {
            "torn": file.read_bytes()[:500],
            "flipped": file.read_bytes()[:-700] + bytes(range(200)) + file.read_bytes()[-500:],
            "other columns": to_bytes(table.drop_columns(["macs"])),
            "other format": to_bytes(table.replace_schema_metadata({"format": "0"})),
        }[spoil]
        file.write_bytes(data)
        assert len(store.study("sst2-snip").read_table()) == 2
        store.study("sst2-snip").gather()
        assert plain(from_bytes(file.read_bytes()).to_pylist()) == plain(table.to_pylist())

    def test_what_is_no_record_is_passed_over(self, store: Store) -> None:
        store.study("sst2-snip").write_record(record_of(4))
        store.study("sst2-snip").attempts(5).begin()
        (store.study("sst2-snip").trial_folder(4).parent / ".DS_Store").touch()
        assert store.study("sst2-snip").finished_numbers() == [4]
        assert len(store.study("sst2-snip").read_table()) == 2

    def test_320_000_points_read_in_less_than_a_second(self, store: Store) -> None:
        # 10,000 trials with 32 points: one trial's rows, repeated under other numbers.
        store.study("sst2-snip").write_record(
            record_of(0, points=tuple(point_of(0.5, i / 32) for i in range(32)))
        )
        one = store.study("sst2-snip").read_table().drop_columns(["number"])
        many = pa.concat_tables([one] * 10_000).unify_dictionaries().combine_chunks()
        table = many.add_column(
            0, COLUMNS.field("number"), pa.array(np.repeat(np.arange(10_000, dtype=np.int32), 32))
        )
        data = to_bytes(table.cast(COLUMNS))
        written = dict.fromkeys(
            range(10_000), (table["written_ns"][0].as_py(), table["written_bytes"][0].as_py())
        )
        start = time.process_time()
        back, known = still_valid(from_bytes(data), written)
        values = np.column_stack([back[name].to_numpy() for name in ("metric", "compression")])
        assert time.process_time() - start < 1.0
        assert (len(known), values.shape) == (10_000, (320_000, 2))


def test_reading_needs_neither_torch_nor_ray_nor_optuna_nor_mlflow() -> None:
    code = (
        "import sys, pipeline.study.store.store, pipeline.study.space.space;"
        "heavy = {'torch', 'ray', 'mlflow', 'optuna'} & set(sys.modules);"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
