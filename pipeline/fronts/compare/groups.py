"""Group studies that differ only in their seed; refuse studies that cannot be compared."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from pipeline.fronts.confirmed import Confirmed, load_confirmed
from pipeline.fronts.front import Front, load_front, objectives
from pipeline.study.records import BadInput, FloatArray, StudySpec
from pipeline.study.store import Store

SEED_SUFFIX = re.compile(r"-seed\d+$")
# Fields in which studies of one group may differ: the anchors follow from the other fields.
APART = ("name", "seed", "anchors")
# Fields that all studies of a comparison share, as messages call them.
SHARED = {
    "task": "task",
    "task_fingerprint": "rows (sha256 of train and validation)",
    "metric_name": "metric",
    "objective": "objective beside the metric",
}
MODEL = {"model_fingerprint": "base model (sha256)"}
TASK = (
    "task",
    "task_fingerprint",
    "metric_name",
    "validation_rows",
)  # what is free in a comparison across tasks


@dataclass(frozen=True, eq=False)
class Entry:
    """One study: its front, and what was confirmed of it."""

    front: Front
    confirmed: Confirmed | None

    @property
    def spec(self) -> StudySpec:
        """The study's spec."""
        return self.front.spec

    @cached_property
    def values(self) -> FloatArray:
        """[F, 2]: metric and gain of its front, on the validation rows that chose it."""
        return objectives(self.front.points)


@dataclass(frozen=True, eq=False)
class Group:
    """Studies that are the same but for their seed, by seed."""

    label: str
    entries: tuple[Entry, ...]

    @property
    def spec(self) -> StudySpec:
        """The spec of its studies; name, seed and anchors are those of the first one."""
        return self.entries[0].spec

    @property
    def seeds(self) -> tuple[int, ...]:
        """The studies' seeds."""
        return tuple(entry.spec.seed for entry in self.entries)


def names_of(
    store: Path | str, studies: Sequence[str], *, task: str | None = None, method: str | None = None
) -> list[str]:
    """Return the named studies, or all studies of the store with that task and method.

    Raises:
        BadInput: nothing selects a study, or the store has none of that kind.
    """
    files = Store(Path(store))
    if studies and (task or method):
        raise BadInput("Studies are named, and chosen by --task or --method, too. Leave one of them out.")
    if studies:
        return list(dict.fromkeys(studies))
    if not task and not method:
        known = ", ".join(files.list_studies()) or "none"
        raise BadInput(f"No study is named, nor a --task or a --method. Studies of {store}: {known}.")
    specs = [files.study(name).read_spec() for name in files.list_studies()]
    found = [s.name for s in specs if task in (None, s.task) and method in (None, s.method, s.approach)]
    if not found:
        request = " and ".join(f"--{k} {v}" for k, v in (("task", task), ("method", method)) if v)
        known = ", ".join(sorted({f"{s.task} by {s.approach}" for s in specs})) or "none"
        raise BadInput(f"{store} has no study of {request}. It has: {known}.")
    return found


def gather(
    store: Path | str,
    studies: Sequence[str],
    *,
    across_models: bool = False,
    across_tasks: bool = False,
) -> tuple[Group, ...]:
    """Read studies and group those that differ only in their seed, in the order of the names.

    Raises:
        BadInput: no such study; they cannot be compared, or two of a group have the same seed.
    """
    specs = [Store(Path(store)).study(name).read_spec() for name in studies]
    _check_comparable(specs, across_models=across_models, across_tasks=across_tasks)
    of_kind: defaultdict[str, list[str]] = defaultdict(list)
    for spec in specs:
        of_kind[_kind(spec)].append(spec.name)
    seeds = {spec.name: spec.seed for spec in specs}
    groups = []
    for names in of_kind.values():
        names.sort(key=lambda name: seeds[name])
        _check_seeds(names, seeds)
        entries = tuple(
            Entry(load_front(name, store=store), load_confirmed(name, store=store)) for name in names
        )
        groups.append(Group(SEED_SUFFIX.sub("", names[0]), entries))
    return _labelled(groups)


def _kind(spec: StudySpec) -> str:
    return repr({key: value for key, value in asdict(spec).items() if key not in APART})


def _check_comparable(specs: Sequence[StudySpec], *, across_models: bool, across_tasks: bool) -> None:
    fields = {key: word for key, word in SHARED.items() if not across_tasks or key not in TASK}
    fields |= {} if across_models else MODEL
    for key, word in fields.items():
        found = {str(getattr(spec, key)): spec.name for spec in specs}
        if len(found) == 1:
            continue
        facts = "; ".join(f"{name}: {_brief(value)}" for value, name in found.items())
        ways = {
            "task": "Compare studies of one task, or rank methods over tasks by --across-tasks.",
            "objective": _KINDS if any(s.zeroes for s in specs) else "Compare studies that share it.",
            "model_fingerprint": "Compare studies of one model, or allow different models by --across-models.",
        }
        way = ways.get(key, "Compare studies that share it.")
        raise BadInput(f"The studies differ: {facts}. Those of one comparison have the same {word}. {way}")


_KINDS = (
    "A network in which single weights are zero is no smaller and no faster: it stands on no front with networks that "
    "are cut. Compare each kind by itself, or the form of a method that is cut (such as magnitude-lifted)."
)


def _brief(value: str) -> str:
    return value[:12] + "…" if re.fullmatch(r"[0-9a-f]{40,}.*", value) else value


def _check_seeds(names: Sequence[str], seeds: dict[str, int]) -> None:
    known: dict[int, str] = {}
    for name in names:
        other = known.setdefault(seeds[name], name)
        if other != name:
            raise BadInput(
                f"{other} and {name} are the same, seed {seeds[name]} included. Studies that are "
                "repeated for their spread have seeds of their own. Leave one of them out."
            )


def _labelled(groups: list[Group]) -> tuple[Group, ...]:
    """Return groups with unique labels: one whose label is taken is labelled by its first study."""
    labels = [group.label for group in groups]
    return tuple(
        group if labels.count(group.label) == 1 else Group(group.spec.name, group.entries) for group in groups
    )
