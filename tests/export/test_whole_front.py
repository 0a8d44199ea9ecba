"""All networks of a front: an export for each row of `show`, and options that name one are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.app import run
from pipeline.export import whole_front
from pipeline.export.choice import find_point
from pipeline.export.whole_front import export_front
from pipeline.study.records import BadInput
from pipeline.study.store import Store
from tests.kit.synthetic import point, record, spec


@pytest.fixture
def store(tmp_path: Path) -> Path:
    made = Store(tmp_path / "store")
    made.write_spec(spec())
    made.study("toy").write_record(record(0, point(0.8, 0.4), point(0.7, 0.8, kind="recovered")))
    made.write_spec(spec("empty"))
    return tmp_path / "store"


def test_each_row_has_a_folder(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(
        whole_front, "export", lambda study, **options: calls.append({"study": study} | options)
    )
    assert len(export_front("toy", to=tmp_path / "all", store=store, int8=True)) == 2
    assert [(call["study"], call["exactly"], call["to"]) for call in calls] == [
        ("toy", (0, 0), tmp_path / "all" / "1"),
        ("toy", (0, 1), tmp_path / "all" / "2"),
    ]
    assert all(call["int8"] is True and call["store"] == store for call in calls)


def test_what_names_one_network_is_refused(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["export", "toy", "--front", "--store", str(store), "--to", str(tmp_path / "all")]
    assert run([*call, "--max-drop", "0.1"]) == 2
    assert "Leave --max-drop out" in capsys.readouterr().err
    assert run([*call, "--trial", "0", "--push", "me/x"]) == 2
    assert "Leave --trial, --push out" in capsys.readouterr().err
    with pytest.raises(BadInput, match="nothing to export"):
        export_front("empty", to=tmp_path / "none", store=store)
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").touch()
    with pytest.raises(BadInput, match="a folder with files"):
        export_front("toy", to=tmp_path / "used", store=store)
    assert not (tmp_path / "all").exists()


def test_a_front_that_changes_meanwhile_is_exported_as_it_was(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the first network is written, a trial ends whose network takes the first row, and dominates the second."""
    found: list[tuple[int, int, float]] = []

    def export(study: str, *, exactly: tuple[int, int], **_: Any) -> None:
        files = Store(store)
        if not found:
            files.study("toy").write_record(record(1, point(0.85, 0.2), point(0.75, 0.9)))
        _, chosen = find_point(files, study, *exactly)
        found.append((chosen.trial, chosen.point, chosen.metric))

    monkeypatch.setattr(whole_front, "export", export)
    export_front("toy", to=tmp_path / "all", store=store)
    assert found == [(0, 0, 0.8), (0, 1, 0.7)]
    with pytest.raises(BadInput, match="Trial 0 of 'toy' has no point 2"):
        find_point(Store(store), "toy", 0, 2)


def test_a_folder_of_a_user_who_does_not_exist_is_refused(store: Path) -> None:
    with pytest.raises(BadInput, match="names a user who does not exist"):
        export_front("toy", to="~no-such-user-here/all", store=store)
