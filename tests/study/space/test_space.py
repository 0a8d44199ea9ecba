"""Search spaces: what files say becomes what Optuna draws, and what they must not say is refused."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from pipeline.methods.registry import METHODS
from pipeline.study.records import BadInput
from pipeline.study.space.cut_keys import ALLOCATION_KEYS, TRIAL_KEYS
from pipeline.study.space.files import folder, known_methods, read_keys, shown_keys
from pipeline.study.space.space import (
    Space,
    load_space,
    parse_space,
)

ROOT = Path(__file__).resolve().parents[3]
FILES = sorted((ROOT / "search_spaces").glob("*.toml"))


DELTA = "[delta]\nlow = 0.1\nhigh = 1\ndefault = 1\n"


def snip(tmp_path: Path | None = None, text: str | None = None, *, pretrained: bool = True) -> Space:
    """SNIP's space; with a text, that as a person's file."""
    if text is None or tmp_path is None:
        return load_space("snip", file=None, pretrained=pretrained)
    file = tmp_path / "mine.toml"
    file.write_text(text)
    return load_space("snip", file=file, pretrained=pretrained)


def draw(space: Space, seed: int) -> dict[str, Any]:
    """One random draw by Optuna."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    return space.sample(study.ask())


class TestPackaged:
    def test_methods(self) -> None:
        assert known_methods() == sorted(METHODS)

    @pytest.mark.parametrize("method", sorted(METHODS))
    def test_each_has_one_allocation_key_and_full_starts(self, method: str) -> None:
        for pretrained in (True, False):
            space = load_space(method, file=None, pretrained=pretrained)
            assert len(set(space.keys) & set(ALLOCATION_KEYS)) == 1
            starts = space.starts()
            assert len(starts) == 4
            assert starts[0] == space.defaults()
            assert all([*params] == [*space.keys] for params in starts)

    def test_method_keys_are_the_fields_of_the_methods(self) -> None:
        from pipeline.methods.registry import METHODS

        for name, method in METHODS.items():
            space = load_space(name, file=None, pretrained=True)
            _, own = space.split(space.defaults())
            known = {field.name for field in fields(method) if field.init}  # type: ignore[arg-type]
            assert set(own) - set(TRIAL_KEYS) == known

    @pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
    def test_every_key_has_a_source_as_a_comment(self, file: Path) -> None:
        heads = [line for line in file.read_text().splitlines() if line.startswith("[")]
        assert len(heads) >= 2
        assert [line for line in heads if not line.partition("#")[2].strip()] == []

    def test_values_of_the_published_ranges(self) -> None:
        space = snip()
        assert space.distributions()["learning_rate"] == FloatDistribution(2e-5, 3e-4, log=True)
        assert space.distributions()["tune_epochs"] == IntDistribution(1, 5)
        assert space.distributions()["shape"] == CategoricalDistribution(("linear", "log"))
        assert space.distributions()["bound_warmup"] == FloatDistribution(0.0, 0.5)
        assert space.defaults()["batch_size"] == 32
        assert "batch_size" not in space.distributions()

    def test_from_scratch_changes_single_settings(self) -> None:
        pretrained, scratch = snip(), snip(pretrained=False)
        assert scratch.distributions()["learning_rate"] == FloatDistribution(5e-4, 3e-3, log=True)
        assert scratch.defaults()["learning_rate"] == 2e-3
        assert pretrained.defaults()["learning_rate"] == 1e-4
        changed = {name for name in scratch.keys if scratch.keys[name] != pretrained.keys[name]}
        epochs = {"tune_epochs", "recover_epochs", "recover_rate_factor", "ladder_steps", "rounds", "level"}
        assert changed == {"learning_rate", "batch_size", "penalty_strength"} | epochs

    def test_a_family_changes_settings_after_from_scratch(self, tmp_path: Path) -> None:
        scratch = load_space("snip", file=None, pretrained=False)
        vit = load_space("snip", file=None, pretrained=False, family="vit")
        changed = {name for name in vit.keys if vit.keys[name] != scratch.keys[name]}
        assert changed == {"batch_size", "tune_epochs", "recover_epochs", "recover_rate_factor"}
        assert vit.defaults()["tune_epochs"] == 20
        assert load_space("snip", file=None, pretrained=False, family="bert").toml == scratch.toml
        file = tmp_path / "mine.toml"
        file.write_text("[from_scratch_vit.batch_size]\nvalue = 16\n[from_scratch.batch_size]\nvalue = 8\n")
        sizes = {
            family: load_space("snip", file=file, pretrained=False, family=family).defaults()["batch_size"]
            for family in ("", "bert", "vit")
        }
        assert sizes == {"": 8, "bert": 8, "vit": 16}
        assert load_space("snip", file=file, pretrained=True).defaults()["batch_size"] == 32
        file.write_text("[from_scratch_vitt.batch_size]\nvalue = 16\n")
        with pytest.raises(BadInput, match="from_scratch_vitt"):
            load_space("snip", file=file, pretrained=False, family="vit")

    def test_unknown_method(self) -> None:
        with pytest.raises(BadInput, match=r"no file of 'snp'.*Nearest: 'snip'; known: chance, .*, snip"):
            load_space("snp", file=None, pretrained=True)

    def test_found_in_a_checkout(self) -> None:
        assert folder() == ROOT / "search_spaces"

    def test_found_in_an_installed_wheel(self, tmp_path: Path) -> None:
        # pyproject's force-include puts search_spaces inside the package, and nothing beside it.
        package = tmp_path / "site" / "pipeline"
        package.mkdir(parents=True)
        shutil.copytree(ROOT / "pipeline" / "study", package / "study")
        (package / "__init__.py").touch()
        shutil.copytree(ROOT / "search_spaces", package / "search_spaces")
        code = (
            "import sys; sys.path.insert(0, sys.argv[1]); import pipeline.study.space.space as s;"
            "assert s.__file__.startswith(sys.argv[1]), s.__file__;"
            "heavy = {'torch', 'ray', 'mlflow', 'optuna'} & set(sys.modules); assert not heavy, heavy;"
            "from pathlib import Path; from pipeline.study.space.files import folder;"
            "assert folder() == Path(sys.argv[1]).resolve() / 'pipeline' / 'search_spaces', folder();"
            "print(s.load_space('snip', file=None, pretrained=True).toml, end='')"
        )
        command = [
            sys.executable,
            "-S",
            "-c",
            f"sys_path = {sys.path!r}; import sys; sys.path += sys_path; {code}",
        ]
        done = subprocess.run(
            [*command, str(tmp_path / "site")], check=True, capture_output=True, text=True, cwd=tmp_path
        )
        assert done.stdout == snip().toml


class TestSampling:
    def test_draws_are_complete_and_inside(self) -> None:
        space = snip()
        for seed in range(20):
            params = draw(space, seed)
            assert [*params] == [*space.keys]
            for name, distribution in space.distributions().items():
                assert distribution._contains(distribution.to_internal_repr(params[name])), name

    def test_only_active_keys_are_drawn(self) -> None:
        space = snip()
        seen = set()
        for seed in range(40):
            study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
            trial = study.ask()
            params = space.sample(trial)
            bound = params["spectral_bound"]
            seen.add((params["shape"], bound))
            expected = {
                "delta": params["shape"] == "log",
                "bound_absolute": bound == "absolute",
                "bound_relative": bound == "relative",
                "bound_scope": bound != "off",
                "bound_warmup": bound != "off",
            }
            for name, drawn in expected.items():
                assert (name in trial.params) == drawn
                assert drawn or params[name] == space.keys[name].default
            assert list(trial.params) == space.active(params)
            assert trial.distributions == space.distributions(params)
        assert len(seen) == 6  # both shapes with all three bounds

    def test_conditions_hang_on_conditions(self, tmp_path: Path) -> None:
        # `bound_scope` is not drawn with spectral_bound off; its default alone draws nothing else.
        space = snip(
            tmp_path,
            '[bound_warmup]\nlow = 0.0\nhigh = 0.5\ndefault = 0.1\nwhen = { bound_scope = "branch" }\n',
        )
        params = space.defaults()
        assert params["bound_scope"] == "branch"
        assert "bound_warmup" not in space.active(params)
        assert "bound_warmup" in space.active(params | {"spectral_bound": "relative"})

    def test_starts_spread(self, tmp_path: Path) -> None:
        space = snip(
            tmp_path,
            "[threshold]\nvalue = 0.2\n[delta]\nlow = 0.01\nhigh = 0.1\ndefault = 0.02\n"
            'when = { shape = "linear" }\nspread = [0.03, 0.04, 0.05]\n',
        )
        starts = space.starts()
        assert [start["penalty_strength"] for start in starts] == [1.0, 5.0, 0.3, 2.0]
        assert {start["threshold"] for start in starts} == {0.2}
        assert {start["delta"] for start in starts} == {0.02}  # shape is log in all of them: not active

    def test_starts_do_not_repeat(self, tmp_path: Path) -> None:
        space = snip(
            tmp_path, "[threshold]\nvalue = 0.2\n[penalty_strength]\nvalue = 1\n[rounds]\nvalue = 1\n"
        )
        assert space.starts() == [space.defaults()]

    def test_split(self) -> None:
        space = load_space("chance", file=None, pretrained=True)
        shared, own = space.split(space.defaults())
        assert own == {"level": "block", "target": 0.5}
        assert shared | own == space.defaults()
        assert "learning_rate" in shared


class TestPersonsFile:
    def test_replaces_single_keys(self, tmp_path: Path) -> None:
        space = snip(
            tmp_path, '[learning_rate]\nvalue = 1e-4\n[level]\nchoices = ["head"]\ndefault = "head"\n'
        )
        packaged = snip()
        assert space.keys["learning_rate"].fixed
        assert draw(space, 0)["level"] == "head"
        changed = {"learning_rate", "level"}
        assert [*space.keys] == [*packaged.keys]
        assert {name for name in space.keys if space.keys[name] != packaged.keys[name]} == changed

    def test_stands_above_from_scratch(self, tmp_path: Path) -> None:
        text = "[learning_rate]\nlow = 1e-3\nhigh = 2e-3\ndefault = 2e-3\n"
        assert snip(tmp_path, text, pretrained=False).defaults()["learning_rate"] == 2e-3
        assert not snip(tmp_path, text, pretrained=False).keys["learning_rate"].log
        text += "[from_scratch.learning_rate]\ndefault = 1e-3\n"
        assert snip(tmp_path, text, pretrained=False).defaults()["learning_rate"] == 1e-3
        assert snip(tmp_path, text, pretrained=True).defaults()["learning_rate"] == 2e-3

    def test_from_scratch_may_fix_a_range(self, tmp_path: Path) -> None:
        space = snip(tmp_path, "[from_scratch.rounds]\nvalue = 2\n", pretrained=False)
        assert space.keys["rounds"].fixed
        assert space.defaults()["rounds"] == 2

    def test_whole_numbers_serve_as_numbers(self, tmp_path: Path) -> None:
        space = snip(tmp_path, "[penalty_strength]\nlow = 1\nhigh = 20\ndefault = 5\nspread = [2, 3, 4]\n")
        assert space.distributions()["penalty_strength"] == FloatDistribution(1.0, 20.0)
        assert [type(start["penalty_strength"]) for start in space.starts()] == [float] * 4

    def test_a_narrowed_choice_leaves_others_conditions_valid(self, tmp_path: Path) -> None:
        space = snip(tmp_path, '[spectral_bound]\nvalue = "off"\n')
        assert not {"bound_absolute", "bound_scope"} & set(space.active(draw(space, 1)))
        assert parse_space(space.toml) == space


class TestCanonicalText:
    @pytest.mark.parametrize("method", ["chance", "snip"])
    @pytest.mark.parametrize("pretrained", [True, False])
    def test_parses_back(self, method: str, pretrained: bool, tmp_path: Path) -> None:
        space = load_space(method, file=None, pretrained=pretrained)
        file = tmp_path / "space.toml"
        file.write_text(space.toml)
        as_file = load_space(method, file=file, pretrained=pretrained)
        for again in (parse_space(space.toml), as_file):
            assert again == space
            assert [*again.keys] == [*space.keys]
            assert again.toml == space.toml

    def test_names_every_key(self) -> None:
        space = snip()
        assert set(tomllib.loads(space.toml)) == set(space.keys)

    finite = st.floats(allow_nan=False, allow_infinity=False)

    @given(st.lists(st.one_of(finite, st.integers(-(2**62), 2**62)), min_size=2, max_size=2).map(sorted))
    def test_numbers_survive(self, bounds: list[float]) -> None:
        low, high = (float(b) for b in bounds) if any(isinstance(b, float) for b in bounds) else bounds
        text = f"[target]\nlow = {low!r}\nhigh = {high!r}\ndefault = {high!r}\n"
        space = parse_space(text)
        key = space.keys["target"]
        assert (key.low, key.high, key.default) == (low, high, high)
        assert key.type == ("int" if isinstance(low, int) else "float")
        assert parse_space(space.toml) == space

    @given(st.lists(st.text(), min_size=1, max_size=4, unique=True))
    def test_texts_survive(self, choices: list[str]) -> None:
        space = parse_space("[target]\nvalue = 0.5\n[word]\nchoices = ['a']\ndefault = 'a'\n")
        key = space.keys["word"]
        words = Space({**space.keys, "word": type(key)("word", "str", choices[0], choices=tuple(choices))})
        assert parse_space(words.toml) == words


class TestRefused:
    """Each message has the file, the key and the value."""

    CASES: ClassVar = {
        "unknown key": ("[penalty_strenth]\nvalue = 1.0", "[penalty_strenth]", "Nearest: 'penalty_strength'"),
        "another method's key": ("[strategy]\nvalue = \"top\"", "[strategy]", "known: learning_rate"),
        "low > high": ("[learning_rate]\nlow = 0.3\nhigh = 0.1\ndefault = 0.2", "low = 0.3, high = 0.1", "go up"),
        "log at 0": ("[delta]\nlow = 0.0\nhigh = 0.1\nlog = true\ndefault = 0.05", "low = 0.0", "above 0"),
        "log below 0": ("[delta]\nlow = -1\nhigh = 0.1\nlog = true\ndefault = 0.05", "low = -1.0", "above 0"),
        "default outside": ("[delta]\nlow = 0.1\nhigh = 0.2\ndefault = 0.5", "default 0.5", "0.1 to 0.2"),
        "default no choice": ('[norm]\nchoices = ["rms"]\ndefault = "mean_abs"', "default 'mean_abs'", "'rms'"),
        "default beside value": ("[delta]\nvalue = 0.1\ndefault = 0.2", "default 0.2", "0.1"),
        "no default": ("[delta]\nlow = 0.1\nhigh = 0.2", "'default' is missing", "Add it"),
        "no default of choices": ('[norm]\nchoices = ["rms"]', "'default' is missing", "Add it"),
        "no high": ("[delta]\nlow = 0.1\ndefault = 0.2", "'high' is missing", "Add it"),
        "no low": ("[delta]\nhigh = 0.1\ndefault = 0.2", "none of them", "low and high"),
        "nothing": ("[delta]", "none of them", "low and high"),
        "two forms": ("[delta]\nlow = 0.1\nhigh = 0.2\nvalue = 0.1", "value and low", "Keep one"),
        "attribute of another form": ("[delta]\nvalue = 0.1\nlog = true", "'log'", "Leave it out"),
        "unknown attribute": ("[delta]\nlow = 0.1\nhihg = 0.2\ndefault = 0.2", "'hihg'", "Nearest: 'high'"),
        "text for a number": ('[delta]\nvalue = "0.1"', "value = '0.1'", "a finite number"),
        "true for a number": ("[delta]\nvalue = true", "value = True", "a finite number"),
        "number for a text": ("[norm]\nvalue = 2", "value = 2", "a text in quotes"),
        "number for a truth": ("[score_per_parameter]\nvalue = 1", "value = 1", "true or false"),
        "fraction for a whole": ("[rounds]\nvalue = 1.5", "value = 1.5", "a whole number"),
        "nan": ("[delta]\nvalue = nan", "value = nan", "a finite number"),
        "too large": ("[delta]\nvalue = 1" + "0" * 400, "value = 1000", "a finite number"),
        "infinity": ("[delta]\nlow = 0.1\nhigh = inf\ndefault = 0.1", "high = inf", "a finite number"),
        "bounds of a text": ('[norm]\nlow = "a"\nhigh = "b"\ndefault = "a"', "a text in quotes", "Give choices"),
        "log no truth": ("[delta]\nlow = 0.1\nhigh = 0.2\nlog = 1\ndefault = 0.1", "log = 1", "true or false"),
        "unknown text": ('[norm]\nchoices = ["rms", "max"]\ndefault = "rms"', "'max'", "'mean_abs', 'rms'"),
        "unknown fixed text": ('[norm]\nvalue = "max"', "'max'", "'mean_abs', 'rms'"),
        "no choices": ('[norm]\nchoices = []\ndefault = "rms"', "[]", "one value or more"),
        "choices twice": ('[norm]\nchoices = ["rms", "rms"]\ndefault = "rms"', "'rms', 'rms'", "all different"),
        "choices no list": ('[norm]\nchoices = "rms"\ndefault = "rms"', "choices = 'rms'", "brackets"),
        "default no scalar": ('[norm]\nchoices = ["rms"]\ndefault = ["rms"]', "default = ['rms']", "a text"),
        "when of no key": (DELTA + "when = { shap = 'log' }", "'shap'", "'shape'"),
        "when of a later key": (DELTA + "when = { norm = 'rms' }", "'norm'", "earlier"),
        "when of itself": (DELTA + "when = { delta = 1 }", "'delta'", "earlier"),
        "when never": (DELTA + "when = { shape = 'lag' }", "never 'lag'", "'log'"),
        "when of a wrong type": (DELTA + "when = { shape = 1 }", "= 1", "a text"),
        "when of no value": (DELTA + "when = { shape = [] }", "shape = []", "Name"),
        "when no table": (DELTA + "when = 'shape'", "when = 'shape'", "{ key"),
        "spread too short": (DELTA + "spread = [0.1]", "spread = [0.1]", "3 values"),
        "spread outside": (DELTA + "spread = [0.1, 0.2, 3]", "spread 3.0", "0.1 to 1.0"),
        "spread of texts": (DELTA + "spread = ['a', 'b', 'c']", "'a'", "a finite"),
        "scratch of no key": ("[from_scratch.rats]\nvalue = 1", "[from_scratch.rats]", "Nearest"),
        "scratch outside": ("[from_scratch.rounds]\ndefault = 9", "[from_scratch.rounds]", "9 is not in 1 to"),
    }  # fmt: skip

    @pytest.mark.parametrize("case", CASES)
    def test_with_file_key_and_value(self, case: str, tmp_path: Path) -> None:
        text, *parts = self.CASES[case]
        key = text[text.index("[") : text.index("]") + 1]
        for pretrained in (True, False):
            with pytest.raises(BadInput) as caught:
                snip(tmp_path, text, pretrained=pretrained)
            message = str(caught.value)
            for part in (str(tmp_path / "mine.toml"), key, *parts):
                assert part in message

    @pytest.mark.parametrize(
        "text", ["learning_rate = 1e-4", "from_scratch = 3", "[from_scratch]\nrounds = 2"]
    )
    def test_a_key_without_a_table(self, text: str, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match=r"mine\.toml: .* = .*Write a line \["):
            snip(tmp_path, text)

    def test_malformed_toml_is_refused_with_file_and_line(self, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match=r"mine\.toml is no TOML: .*line 2"):
            snip(tmp_path, "[delta]\nvalue = = 3\n")

    def test_key_twice(self, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match=r"mine\.toml is no TOML: .*line 3"):
            snip(tmp_path, "[delta]\nvalue = 0.1\n[delta]\nvalue = 0.2\n")

    def test_file_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match=r"none\.toml cannot be read: No such file"):
            load_space("snip", file=tmp_path / "none.toml", pretrained=True)

    def test_folder_and_binary(self, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match="cannot be read: Is a directory"):
            load_space("snip", file=tmp_path, pretrained=True)
        (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(BadInput, match="cannot be read: it is not UTF-8"):
            load_space("snip", file=tmp_path / "binary", pretrained=True)

    def test_a_persons_target_takes_the_place_of_a_threshold(self, tmp_path: Path) -> None:
        file = tmp_path / "half.toml"
        file.write_text("[target]\nvalue = 0.5\n")
        space = load_space("snip", file=file, pretrained=True)
        assert space.defaults()["target"] == 0.5
        assert "threshold" not in space.keys
        assert parse_space(space.toml) == space
        file.write_text("[target]\nvalue = 0.5\n[threshold]\nvalue = 0.5\n")
        with pytest.raises(BadInput, match="one of the keys threshold and target"):
            load_space("snip", file=file, pretrained=True)

    @pytest.mark.parametrize(
        ("text", "has"),
        [("[rounds]\nvalue = 1", "[]"), ("[target]\nvalue = 0.1\n[threshold]\nvalue = 0.1", "['thr")],
    )
    def test_none_or_both_allocation_keys(self, text: str, has: str) -> None:
        with pytest.raises(BadInput, match="A space has one of the keys threshold and target") as caught:
            parse_space(text)
        assert has in str(caught.value)

    def test_mixed_types(self) -> None:
        with pytest.raises(BadInput, match=r"space\.toml, \[target\]: choices = \[1, 'a'\]"):
            parse_space("[target]\nchoices = [1, 'a']\ndefault = 1")


def test_what_is_shown_is_no_part_of_a_space() -> None:
    """A study stores its space: text that only tables need would make every earlier study another one."""
    assert shown_keys("snip")["penalty_strength"] == "penalty"
    assert shown_keys("snip")["level"] is True
    assert "show" not in snip().toml


def test_a_persons_file_does_not_say_what_is_shown(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="'show' is none"):
        snip(tmp_path, DELTA + "show = true\n")


def test_a_show_is_true_or_a_name(tmp_path: Path) -> None:
    file = tmp_path / "one.toml"
    file.write_text('[level]\nvalue = "head"\nshow = false\n')
    with pytest.raises(BadInput, match=r"one\.toml, \[level\]: show = False"):
        read_keys(file)


def test_a_threshold_of_the_users_brings_back_the_methods_own_ranking(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text("[threshold]\nvalue = 0.2\n")
    space = load_space("snip", file=file, pretrained=True)
    assert "target" not in space.keys
    assert (space.defaults()["threshold"], space.defaults()["rank_by"]) == (0.2, "own")
    assert load_space("snip", file=None, pretrained=True).defaults()["rank_by"] == "obs"


def test_a_threshold_on_another_methods_scores_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "both.toml"
    file.write_text('[threshold]\nvalue = 0.2\n[rank_by]\nvalue = "fisher"\n')
    with pytest.raises(BadInput, match=r"A threshold is on the scores of the method itself.*Give a target"):
        load_space("snip", file=file, pretrained=True)


def test_a_ranking_that_is_not_known_is_refused_with_those_that_are(tmp_path: Path) -> None:
    file = tmp_path / "odd.toml"
    file.write_text('[rank_by]\nvalue = "obss"\n')
    with pytest.raises(BadInput, match="Known: 'own', 'obs', 'fisher'"):
        load_space("first-order", file=file, pretrained=True)


@pytest.mark.parametrize(
    "file", sorted((ROOT / "search_spaces" / "published").glob("*.toml")), ids=lambda p: p.stem
)
def test_published_settings_are_those_of_a_method(file: Path) -> None:
    """METHOD-DATA.toml: every key is one of the method's, at one value."""
    method = file.stem.rpartition("-")[0]
    space = load_space(method, file=file, pretrained=True)
    named = tomllib.loads(file.read_text())
    assert {key: space.defaults()[key] for key in named} == {key: row["value"] for key, row in named.items()}
