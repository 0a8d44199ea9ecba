"""Which studies a comparison is made of, and the search space that gives every method the same chance."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from pipeline.methods.registry import ranks_weights
from pipeline.study.records import Params, ParamValue
from pipeline.study.space import ALLOCATION_KEYS, load_space

# λ and c from prototypes with this norm on the same model; the paper's values are not public (arXiv 2010.01791).
PUBLISHED_SNIP: Params = {
    "norm": "mean_abs",
    "reference": "none",
    "unit_weight": "uniform",
    "ffn_weight": 1.0,
    "shape": "linear",
    "level": "block",
    "penalty_strength": 1.2,
    "spectral_bound": "absolute",
    "bound_absolute": 2.0,
}


@dataclass(frozen=True)
class Entry:
    """A method as it is compared: under a name, with settings that differ from its defaults."""

    label: str
    method: str
    settings: Mapping[str, ParamValue] = field(default_factory=dict)
    distill: str = "none"


@dataclass(frozen=True)
class Planned:
    """One study: an entry on a task with a seed, one trial per target: compression, or sparsity of single weights."""

    entry: Entry
    task: str  # path of the task file
    seed: int
    targets: tuple[float, ...]


# What methods without a `level` rank; those that lift single weights sum them over heads and neurons.
UNITS = {"layerdrop": "layer", "mpruner": "layer", "smp": "head-only"}

WEIGHT = "weight"

NAMED = {"snip-published": Entry("snip-published", "snip", PUBLISHED_SNIP)}


def entry(text: str) -> Entry:
    """`method`, a label of NAMED, or either with a distillation and settings: snip+kd,level=head,rounds=2."""
    name, *settings = text.split(",")
    base, _, distill = name.partition("+")
    known = NAMED.get(base, Entry(base, base))
    given = {key: _value(value) for key, _, value in (part.partition("=") for part in settings)}
    label = name + "".join(f"+{key}={value}" for key, value in given.items())
    return Entry(label, known.method, {**known.settings, **given}, distill or "none")


def units(item: Entry) -> str:
    """The level at which an entry ranks: what `chance` has to rank to be its yardstick."""
    if ranks_weights(item.method):
        return WEIGHT
    own = {**load_space(item.method, file=None, pretrained=True).defaults(), **item.settings}.get("level")
    return str(own or UNITS.get(item.method, "neuron"))


def planned(
    entries: list[Entry],
    tasks: list[str],
    seeds: Iterable[int],
    targets: tuple[float, ...],
    sparsities: tuple[float, ...] = (),
) -> Iterator[Planned]:
    """All studies, seed by seed: when time is up, all methods have about as many."""
    for seed in seeds:
        for task in tasks:
            for each in entries:
                yield Planned(each, task, seed, sparsities if ranks_weights(each.method) else targets)


def space_toml(item: Entry, targets: tuple[float, ...], epochs: int) -> str:
    """The method's defaults, fixed; one trial for each target; the same epochs for all.

    A method that tunes before it cuts spends half of them on that; one that ranks a network as it came spends all on
    recovery.

    Raises:
        BadInput: no such method.
        ValueError: targets are one, or two to four.
    """
    space = load_space(item.method, file=None, pretrained=True)
    params: Params = {**space.defaults(), **item.settings}
    before = epochs // 2 if params["tune_epochs"] else 0
    params |= {"tune_epochs": before, "recover_epochs": epochs - before}
    fixed = {name: value for name, value in params.items() if name not in ALLOCATION_KEYS}
    text = "".join(f"[{name}]\nvalue = {json.dumps(value)}\n" for name, value in fixed.items())
    return text + _target(targets)


def _target(targets: tuple[float, ...]) -> str:
    if len(targets) == 1:
        return f"[target]\nvalue = {targets[0]}\n"
    if len(targets) > 4:
        raise ValueError(f"A study starts with four trials at most; targets are {targets}.")
    middle = targets[len(targets) // 2]
    others = [value for value in targets if value != middle]
    spread = [*others, *[middle] * (3 - len(others))]
    return f"[target]\nchoices = {sorted(targets)}\ndefault = {middle}\nspread = {spread}\n"


def _value(text: str) -> ParamValue:
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        return text
    return value if isinstance(value, bool | int | float) else text
