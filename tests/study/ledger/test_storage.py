"""A study's spec is frozen, and a storage that cannot be opened is refused without its secrets."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import IntegrityError, OperationalError

from pipeline.study.ledger import tables
from pipeline.study.ledger.backends import backend_of
from pipeline.study.ledger.frozen import refuse_difference, spec_difference
from pipeline.study.ledger.guarded import GuardedWrites
from pipeline.study.ledger.stored import open_study
from pipeline.study.records import BadInput
from tests.kit.ledger import SPACE, ledger_at, spec_of


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/studies.db"


def test_other_programs_know_the_names_of_both_values(url: str) -> None:
    spec = spec_of()
    ledger_at(url, spec)
    study = optuna.load_study(study_name=spec.name, storage=url)
    assert study.metric_names == [spec.metric_name, "compr."]


def test_a_study_goes_on_with_its_own_spec_only(url: str) -> None:
    spec = spec_of()
    ledger_at(url, spec)
    ledger_at(url, dataclasses.replace(spec, space_toml=SPACE.toml + "# said otherwise\n"), trials=500)
    wider = SPACE.toml.replace("high = 10.0", "high = 20.0").replace('["off", "relative"]', '["relative"]')
    other = dataclasses.replace(
        spec,
        seed=1,
        space_toml=wider + "[more]\nvalue = 1\n",
        anchors=dataclasses.replace(spec.anchors, dense=0.91),
    )
    lines = [
        "  space.penalty.high: it is 10.0, requested is 20.0",
        '  space.mode.choices: it is ["off", "relative"], requested is ["relative"]',
        "  seed: it is 0, requested is 1",
        "  anchors.dense: it is 0.9, requested is 0.91",
        "  space.more.value: it is (absent), requested is 1",
    ]
    with pytest.raises(BadInput) as refused:
        ledger_at(url, other)
    law, *facts, way_out = str(refused.value).splitlines()
    assert facts == lines
    assert law.endswith("and a study is frozen at its start. It differs in")
    assert way_out.startswith("Give another --name")
    with pytest.raises(BadInput) as before_opening:
        refuse_difference(dataclasses.asdict(spec), dataclasses.asdict(other))
    assert str(before_opening.value) == str(refused.value)
    refuse_difference(dataclasses.asdict(spec), dataclasses.asdict(spec))


def test_a_study_of_another_program_is_refused(url: str) -> None:
    study = optuna.create_study(storage=url, study_name="s")
    study.add_trial(optuna.trial.create_trial(value=1.0))
    with pytest.raises(BadInput, match="no spec of ours"):
        ledger_at(url)


def test_a_study_whose_maker_died_before_the_spec_is_taken_up(url: str) -> None:
    optuna.create_study(storage=url, study_name="s", directions=["maximize", "maximize"])
    ledger_at(url)
    with pytest.raises(BadInput, match="seed: it is 0, requested is 1"):
        ledger_at(url, spec_of(seed=1))


FIELDS = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 2) | st.floats() | st.text(max_size=2))


@settings(suppress_health_check=[HealthCheck.too_slow])  # texts: a busy machine reads tables of all letters
@given(FIELDS, FIELDS)
def test_differences_are_the_fields_that_differ(was: dict[str, object], now: dict[str, object]) -> None:
    # repr tells NaN equal to itself and 1 from 1.0, as a spec should
    expected = {key for key in "abcd" if repr(was.get(key, "absent")) != repr(now.get(key, "absent"))}
    assert {line.partition(":")[0] for line in spec_difference(was, now)} == expected


def test_a_space_from_before_a_key_is_the_space_that_leaves_it_as_it_was() -> None:
    was, same = "[a]\nvalue = 1\n", "[a]\nvalue = 1\n[start_dense]\nvalue = false\n"
    assert spec_difference({"space_toml": was}, {"space_toml": same}) == []
    other = spec_difference({"space_toml": was}, {"space_toml": same.replace("false", "true")})
    assert other == ["space.start_dense.value: it is (absent), requested is true"]
    assert len(spec_difference({"space_toml": same}, {"space_toml": was})) == 1  # an older program's question


@pytest.mark.parametrize(
    ("bad", "shown"),
    [
        (
            "sqlite:////no/such/folder/studies.db",
            "sqlite:////no/such/folder/studies.db cannot be opened (Operat",
        ),
        ("postgresql://ann:hun%40ter2@db.example:5432/studies", "postgresql://db.example:5432/studies"),
        ("nosuch://ann:hunter2@db.example/studies", "nosuch://db.example/studies"),
        ("postgresql://db.example/studies?password=hunter2", "postgresql://db.example/studies cannot"),
        ("postgresql://ann:hun@ter2@db.example/studies", "the URL given"),
        ("postgresql://ann:hunter2", "the URL given"),
        ("hunter2", "the URL given"),
    ],
)
def test_a_storage_that_cannot_be_opened(bad: str, shown: str) -> None:
    with pytest.raises(BadInput) as refused:
        ledger_at(bad)
    assert shown in str(refused.value)
    assert "ter2" not in str(refused.value)
    assert refused.value.__suppress_context__


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    file = tmp_path / "studies.db"
    file.write_text("not a database, but long enough to be looked at by sqlite" * 20)
    with pytest.raises(BadInput, match="file is not a database"):
        ledger_at(f"sqlite:///{file}")


def test_a_study_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/studies.db"
    open_study(backend_of(url), spec_of(), GuardedWrites(url, None), url=url)
    study = optuna.load_study(study_name="s", storage=url)
    study.set_user_attr("format", 2)
    with pytest.raises(BadInput, match="Install a newer one"):
        open_study(backend_of(url), spec_of(), GuardedWrites(url, None), url=url)


def test_two_drivers_make_the_tables_of_a_new_ledger_at_once(tmp_path: Path) -> None:
    """They are other processes' studies: neither waits for the other's lease."""
    for number in range(3):
        url, gate, opened = f"sqlite:///{tmp_path}/{number}.db", threading.Barrier(2), list[str]()

        def driver(
            name: str, url: str = url, gate: threading.Barrier = gate, opened: list[str] = opened
        ) -> None:
            gate.wait()
            try:
                open_study(backend_of(url), spec_of(name=name), GuardedWrites(url, None), url=url)
                opened.append(name)
            except Exception as error:
                opened.append(f"{type(error).__name__}: {error}")

        drivers = [threading.Thread(target=driver, args=(name,)) for name in "ab"]
        for each in drivers:
            each.start()
        for each in drivers:
            each.join()
        assert sorted(opened) == ["a", "b"]


def test_tables_that_another_driver_has_just_made_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "PAUSES_S", (0.0, 0.0))
    errors: list[Exception] = [
        IntegrityError("INSERT", {}, Exception("UNIQUE constraint failed: alembic_version.version_num")),
        OperationalError("CREATE", {}, Exception("table studies already exists")),
    ]

    def make() -> str:
        if errors:
            raise errors.pop(0)
        return "opened"

    assert tables.made_once(make) == "opened"
    errors = [OperationalError("", {}, Exception("unable to open database file"))]
    with pytest.raises(OperationalError, match="unable to open"):
        tables.made_once(make)
