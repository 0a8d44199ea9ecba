"""A store in an object store: a search on a local S3 server, killed, taken up on another machine, read on a third."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import torch

from pipeline.cli.app import run as run_here
from pipeline.study.records import BadInput, PointRef
from pipeline.study.store import Store, mark_died, object_client, save_record, written_once
from pipeline.study.store.attempts import remove
from pipeline.study.store.objects import ObjectStoreLost, is_object_store, place_text
from pipeline.trial import checkpoint as resume
from pipeline.trial.training.loop import LoopState
from tests.kit.bucket import KEYS, contents, records
from tests.kit.gate import gate
from tests.kit.postgres import PASSWORD, Server, binaries, free_port
from tests.kit.synthetic import point, record, spec
from tests.kit.toy import command, environment, on_one_core, write_task

TRIALS = 3  # the first two of them are no better than the constant prediction


def test_a_place_is_written_as_a_person_writes_it() -> None:
    place = Path("s3://bucket/runs")
    assert is_object_store(place)
    assert place_text(place) == "s3://bucket/runs"
    assert not is_object_store(Path("runs"))
    assert place_text(Path("/runs")) == "/runs"


def test_what_one_machine_writes_another_one_reads(machine: Callable[[str], None], place: Path) -> None:
    first = Store(place)
    assert first.check_writable() == ""
    first.write_spec(spec())
    first.study("toy").write_record(record(0, point(0.8, 0.5)))
    weights = first.study("toy").weights.path(0, "round-00")
    for _ in range(2):
        mark_died(first.study("toy").attempts(0).begin())
    attempt = first.study("toy").attempts(0).begin()
    mark_died(attempt)
    (attempt / "weights").mkdir()
    (attempt / "weights" / "round-00.safetensors").write_bytes(b"w" * 100)
    first.study("toy").weights.take(0, [attempt])
    assert weights.is_file()

    machine("second")
    second = Store(place)
    assert second.root != first.root
    assert second.list_studies() == ["toy"]
    assert second.study("toy").read_spec() == spec()
    assert second.study("toy").finished_numbers() == [0]
    assert second.study("toy").read_record(0).params == record(0).params
    assert second.study("toy").attempts(0).given_up() == "worker lost 3 times"
    assert not list(second.root.rglob("*.safetensors")), "weights come when they are needed"
    assert second.study("toy").weights.size_bytes() == 100

    found = second.study("toy").weights.of_point(PointRef(0, 0, "curve", 0))
    assert found is not None
    assert found.read_bytes() == b"w" * 100
    assert second.study("toy").attempts(0).begin().name.startswith("attempt-04-")
    remove(second.study("toy").attempts(0).folders())
    second.study("toy").weights.keep_only([])

    machine("third")
    third = Store(place)
    assert third.study("toy").finished_numbers() == []
    assert third.study("toy").exists()
    assert third.study("toy").attempts(0).given_up() == ""
    assert third.study("toy").weights.size_bytes() == 0


def test_two_machines_are_given_two_attempts(machine: Callable[[str], None], place: Path) -> None:
    first = Store(place).study("toy").attempts(0).begin()
    machine("second")
    other = Store(place)
    assert other.study("toy").attempts(0).begin().name != first.name
    assert other.study("toy").attempts(0).count() == 2


def test_a_checkpoint_of_another_machine_is_gone_on_from(machine: Callable[[str], None], place: Path) -> None:
    attempt = Store(place).study("toy").attempts(0).begin()
    for step in (3, 7):
        loop = LoopState(step, {"w": torch.full((5,), float(step))})
        resume.save(attempt, resume.Checkpoint(1, loop, None, record(0)))
    machine("second")
    store = Store(place)
    own = store.study("toy").attempts(0).begin()
    attempts = sorted(own.parent.glob("attempt-*"))
    assert attempts[-1] == own
    found = resume.load(attempts)
    assert found is not None
    assert (found.phase, found.loop.step, found.loop.tensors["w"].tolist()) == (1, 7, [7.0] * 5)
    kept = [name for name in contents(store) if name.endswith("state.pt")]
    assert len(kept) == 1, "the older one went"


def test_a_record_written_anew_is_read_anew(machine: Callable[[str], None], place: Path) -> None:
    first = Store(place)
    first.write_spec(spec())
    first.study("toy").write_record(record(0, point(0.8, 0.5)))
    machine("second")
    assert Store(place).study("toy").read_table()["metric"].to_pylist() == [0.8]
    time.sleep(1.1)  # S3 counts seconds
    assert not Store(place).study("toy").write_record(record(0, point(0.6, 0.5)))
    save_record(Store(place).study("toy").trial_folder(0), record(0, point(0.7, 0.5)))
    assert Store(place).study("toy").read_table()["metric"].to_pylist() == [0.7]


class Breaking(io.RawIOBase):
    """A file of `size` bytes whose reading breaks off at 12 MiB."""

    def __init__(self, size: int, error: type[BaseException]) -> None:
        self._size, self._error, self._at = size, error, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = (0, self._at, self._size)[whence] + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        if self._at > 12 << 20:
            raise self._error
        data = bytes(min(size, self._size - self._at) if size >= 0 else self._size - self._at)
        self._at += len(data)
        return data


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, OSError])
def test_what_breaks_off_is_not_there_under_its_name(
    machine: Callable[[str], None], place: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    store = Store(place)
    assert store.bucket is not None
    path = store.bucket.copy / "weights.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"old" * 1000)
    store.bucket.send(path)
    path.write_bytes(bytes(20 << 20))
    with monkeypatch.context() as patch:
        patch.setattr(object_client, "_source", lambda _: Breaking(20 << 20, error))
        with pytest.raises(BaseException) as broken:  # noqa: PT011
            store.bucket.send(path)
        assert isinstance(broken.value, error | ObjectStoreLost)
    assert [(name, size) for name, (size, _) in contents(store).items()] == [("weights.safetensors", 3000)]
    store.bucket.send(path)
    assert contents(store)["weights.safetensors"][0] == 20 << 20


@pytest.mark.parametrize("paused_before", ["record.npz", "record.json"])
def test_of_two_machines_that_end_a_trial_at_once_the_first_decides(
    machine: Callable[[str], None], place: Path, monkeypatch: pytest.MonkeyPatch, paused_before: str
) -> None:
    """One has looked, and found no record; the other sends its own before the first one sends."""
    first = Store(place)
    first.write_spec(spec())
    machine("second")
    second = Store(place)
    send = written_once.send_if_new

    def pause(path: Path) -> bool:
        if path.name == paused_before:
            monkeypatch.setattr(written_once, "send_if_new", send)
            assert second.study("toy").write_record(record(0, point(0.7, 0.5)))
        return send(path)

    monkeypatch.setattr(written_once, "send_if_new", pause)
    assert not first.study("toy").write_record(record(0, point(0.8, 0.5)))
    machine("third")
    for store in (first, second, Store(place)):
        store.study("toy").refresh()
        (found,) = store.study("toy").read_record(0).points
        assert found.measurement.metric == 0.7


def test_a_record_whose_answer_was_lost_is_ones_own(
    machine: Callable[[str], None], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client sends it again, and is told that place is one."""
    store = Store(place)
    assert store.bucket is not None
    path = store.bucket.copy / "spent.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")
    assert store.bucket.send_new(path)
    assert store.bucket.send_new(path)
    path.write_text("[]")
    assert not store.bucket.send_new(path)
    assert contents(store)["spent.json"][0] == 2


def test_a_file_of_the_same_size_and_second_is_fetched_anew(
    machine: Callable[[str], None], place: Path
) -> None:
    first = Store(place)
    assert first.bucket is not None
    machine("second")
    second = Store(place)
    assert second.bucket is not None
    for number in range(4):
        for store, text in ((first, "a"), (second, "b")):
            path = store.bucket.copy / "outbox.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + str(number))
            store.bucket.send(path)
        first.bucket.fetch(first.bucket.copy / "outbox.json")
        assert (first.bucket.copy / "outbox.json").read_text() == f"b{number}"


def test_a_server_that_ignores_conditions_is_noticed_and_named(
    endpoint: str, machine: Callable[[str], None], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(data: bytes) -> bytes:
        return data.replace(b"if-none-match: *", b"x-not-known-if: *")

    with gate(urlsplit(endpoint).port, without) as way:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{way.port}")
        store = Store(place)
        assert f"{place_text(place)} ignores the condition If-None-Match" in store.check_writable()
        assert contents(store) == {}


def test_an_object_store_that_does_not_answer_is_named(
    machine: Callable[[str], None], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.study.store.object_client.ATTEMPTS", 1)
    with pytest.raises(BadInput, match="s3://nowhere/runs") as refusal:
        Store(Path("s3://nowhere/runs")).check_writable()
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in str(refusal.value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(ObjectStoreLost, match="AWS_ENDPOINT_URL"):
        Store(place).list_studies()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "--ledger"),
        (["--ledger", "postgresql://me@db/x"], "--tracking"),
        (["--ledger", "sqlite:////x"], "--ledger"),
    ],
)
def test_no_database_goes_into_a_bucket(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, options: list[str], says: str
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert run_here(["search", "--store", "s3://bucket/runs", *options]) == 2
    message = capsys.readouterr().err
    assert says in message
    assert "s3://bucket/runs" in message


@pytest.mark.long
@pytest.mark.skipif(binaries() is None, reason="no PostgreSQL server here (apt-get install postgresql)")
@pytest.mark.timeout(400)
def test_a_search_is_killed_and_goes_on_elsewhere(
    machine: Callable[[str], None],
    place: Path,
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    server.create("objects")
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    task, store = write_task(tmp_path / "task"), place_text(place)
    asked = [
        "search", "--task", str(task), "--space", str(task.parent / "quick.toml"), "--name", "toy",
        "--store", store, "--trials", str(TRIALS), "--concurrent", "1", "--latency-grid", "none",
        "--ledger", server.url("objects"), "--tracking", f"sqlite:///{tmp_path}/mlflow.db", "--json",
    ]  # fmt: skip
    heard = tmp_path / "heard"
    with heard.open("w") as file:
        first = subprocess.Popen(
            command(*asked),
            env=environment(),
            stdout=file,
            stderr=file,
            start_new_session=True,
            preexec_fn=on_one_core,
        )
    watching = Store(Path(store))
    end = time.monotonic() + 150
    while not records(watching):
        assert first.poll() is None, heard.read_text()
        assert time.monotonic() < end, heard.read_text()
        time.sleep(0.3)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    before = records(watching)

    machine("second")
    again = subprocess.run(
        command(*asked, "--take-over"),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=200,
        preexec_fn=on_one_core,
    )
    assert again.returncode == 0, again.stderr
    for secret in (PASSWORD, KEYS["AWS_SECRET_ACCESS_KEY"]):
        assert secret not in heard.read_text() + again.stdout + again.stderr
    found = json.loads(again.stdout)
    assert found["trials"] == TRIALS
    assert found["left_out"] == {"failed": 0, "stopped": 0}
    after = records(watching)
    assert {number: after[number] for number in before} == before, "a finished trial was done again"
    assert sorted(after) == [f"{number:05d}" for number in range(TRIALS)]
    left = [name for name, (size, _) in contents(watching).items() if size]  # pyarrow marks Tune's folders
    assert not [name for name in left if "attempt-" in name or "checkpoint" in name or "/tune/" in name]
    weighty = {name.split("/")[3] for name in left if name.endswith(".safetensors") and "trials" in name}
    assert weighty <= {f"{p['trial']:05d}" for p in found["points"]}
    assert weighty, ([(p["trial"], p["kind"], p["metric"]) for p in found["points"]], sorted(left))

    machine("third")
    capfd.readouterr()
    assert run_here(["show", "toy", "--store", store, "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["points"] == found["points"]
    assert run_here(["best", "toy", "--store", store]) == 0
    assert run_here(["export", "toy", "--knee", "--store", store, "--to", str(tmp_path / "cut")]) == 0, (
        capfd.readouterr().err
    )
    assert (tmp_path / "cut" / "model.safetensors").is_file()
