"""A TOML file -> Optuna distributions; unknown keys and attributes are refused.

A file has one table per key, in one of three forms:

    [penalty_strength]              [shape]                           [batch_size]
    low = 1e-2                      choices = ["linear", "log"]       value = 32
    high = 20.0                     default = "log"
    log = true
    default = 5.0
    spread = [0.5, 2.0, 10.0]

Bounds are included. A range is of whole numbers if both bounds are written as whole numbers. Trial 0 takes the
`default` of every key, trials 1 to 3 the values of `spread`. A key with `when = { shape = "log" }` is only drawn where
an earlier key has that value, or one of a list of them; elsewhere it takes its default. `[from_scratch.KEY]`
changes single settings of a key for models without pretrained weights, and `[from_scratch_vit.KEY]` then for those of
that family.

The packaged files are shared.toml and one per method, which may replace keys of shared.toml; and in distill/ one per
distillation, for studies that distil. A method's file also sets the columns of tables of results: `show = "name"`
on a key gives it a column of that name, `show = true` one of its own name where networks differ in it.

A user's file replaces single keys of them; keys that it does not contain keep the packaged table. It may add one key
to any method: `target`, the compression to cut to, in place of a threshold on the method's own score; or give the
threshold of a method whose packaged file has both.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.study.records import BadInput, Params, ParamValue
from pipeline.study.space.cut_keys import ANY_METHODS, check_allocation, one_allocation
from pipeline.study.space.document import parse_document, read_document
from pipeline.study.space.files import (
    DISTILL,
    distill_file,
    folder,
    method_file,
    read_keys,
    shared_file,
)
from pipeline.study.space.spacefile import (
    FORMS,
    SPREAD,
    Key,
    Table,
    check_when,
    nearest,
    parse_key,
)

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import BaseTrial

FROM_SCRATCH = "from_scratch"
SECTIONS = (FROM_SCRATCH, *(f"{FROM_SCRATCH}_{family}" for family in ("bert", "gpt2", "vit")))


@dataclass(frozen=True)
class Space:
    """The keys of a study by name, in the order in which they are drawn."""

    keys: Mapping[str, Key]

    @property
    def toml(self) -> str:
        """The canonical text, every key written out: read as a file or parsed alone, it gives this space."""
        return "\n".join(
            f"[{key.name}]\n" + "".join(f"{name} = {_toml(value)}\n" for name, value in key.table().items())
            for key in self.keys.values()
        )

    def defaults(self) -> Params:
        """Return the parameters of trial 0."""
        return self._complete(lambda key: key.default)

    def starts(self) -> list[Params]:
        """Return the parameters of the first trials: the defaults, then the spread, without duplicates."""
        starts = [self.defaults()]
        for i in range(SPREAD):
            params = self._complete(partial(_spread_or_default, i))
            if params not in starts:
                starts.append(params)
        return starts

    def sample(self, trial: BaseTrial) -> Params:
        """Return all parameters: the active ones drawn from an Optuna trial, the others at their defaults."""
        return self._complete(lambda key: _draw(key, trial))

    def active(self, params: Params) -> list[str]:
        """Return the keys that are drawn under these parameters."""
        drawn: list[str] = []

        def take(key: Key) -> ParamValue:
            drawn.append(key.name)
            return params[key.name]

        self._complete(take)
        return drawn

    def distributions(self, params: Params | None = None) -> dict[str, BaseDistribution]:
        """Return Optuna's distributions of the keys active under `params`, or of all keys that are not fixed."""
        drawn = [key.name for key in self.keys.values() if not key.fixed]
        names = drawn if params is None else self.active(params)
        return {name: _distribution(self.keys[name]) for name in names}

    def may_have(self, name: str, value: ParamValue) -> bool:
        """Return whether a trial may have this value of a key; False if there is no such key."""
        return name in self.keys and self.keys[name].admits(value)

    def fitted(self, params: Params) -> Params | None:
        """Convert parameters of another space to this one; None if an active key has a value outside its range.

        Fixed keys have this space's value, keys that the other space lacks their defaults.
        """
        result = self._complete(lambda key: params.get(key.name, key.default))
        fits = all(self.keys[name].admits(result[name]) for name in self.active(result))
        return result if fits else None

    def split(self, params: Params) -> tuple[Params, Params]:
        """Split parameters into those that belong to no method, and those of the method's own file."""
        shared = _shared_names()
        return (
            {name: value for name, value in params.items() if name in shared},
            {name: value for name, value in params.items() if name not in shared},
        )

    def _complete(self, take: Callable[[Key], ParamValue]) -> Params:
        """Return parameters in order: what `take` returns for an active key, else the key's default."""
        params: Params = {}
        holds: dict[str, bool] = {}  # a key whose condition is false makes the conditions that name it false
        for key in self.keys.values():
            holds[key.name] = all(holds[name] and params[name] in values for name, values in key.when)
            params[key.name] = take(key) if holds[key.name] and not key.fixed else key.default
        return params


def load_space(
    method: str,
    *,
    file: Path | None,
    pretrained: bool,
    fixed: Mapping[str, ParamValue] | None = None,
    distill: str = "none",
    family: str = "",
) -> Space:
    """Return the space of a method: the packaged files, replaced by the user's file, replaced by `fixed`.

    With `distill` it has the keys of that distillation, after those of the method. `family` of a model without
    pretrained weights: which of the sections `[from_scratch_FAMILY]` changes keys after `[from_scratch]`; or none.

    Raises:
        BadInput: no such method; a file cannot be read, is not TOML, has a key that the method lacks, or a table
            that is not valid (`spacefile.parse_key`).
    """
    own = method_file(method)
    scratch = () if pretrained else sections_of(family)
    keys: dict[str, Key] = {}
    for path in (shared_file(), own):
        document = read_keys(path)
        keys = _overlay(keys, document, path.name, scratch=scratch, new=[*document])
    if distill != "none":
        path = distill_file(distill)
        document = read_keys(path)
        keys = _overlay(keys, document, path.name, scratch=scratch, new=[*document])
    user: dict[str, Any] = {}
    if file is not None:
        user = read_document(file)
        keys = _overlay(keys, user, str(file), scratch=scratch, new=[ANY_METHODS])
    given = {name: {"value": value} for name, value in (fixed or {}).items()}
    keys = _overlay(keys, given, "options", scratch=scratch, new=[])
    return Space(one_allocation(keys, {*user, *given}, own.name if file is None else str(file)))


def parse_space(text: str) -> Space:
    """Return the space of a canonical text (`Space.toml`), without the packaged files: the space of a study.

    Raises:
        BadInput: the text is not such a space.
    """
    file = "space.toml"
    keys: dict[str, Key] = {}
    for name, items in parse_document(text, file).items():
        # A `when` may name a value that the user has removed from an earlier key's choices: no check_when.
        keys[name] = parse_key(_table(file, name, items), name, known=None, earlier=keys)
    check_allocation(keys, file)
    return Space(keys)


def sections_of(family: str) -> tuple[str, ...]:
    """Return the tables of a file that change keys for a model without pretrained weights, in their order."""
    return (FROM_SCRATCH, f"{FROM_SCRATCH}_{family}")


def _spread_or_default(index: int, key: Key) -> ParamValue:
    return key.spread[index] if key.spread else key.default


def _distribution(key: Key) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if key.low is None or key.high is None:
        return CategoricalDistribution(key.choices)
    if key.type == "int":
        return IntDistribution(int(key.low), int(key.high), log=key.log)
    return FloatDistribution(key.low, key.high, log=key.log)


def _draw(key: Key, trial: BaseTrial) -> ParamValue:
    if key.low is None or key.high is None:
        value = trial.suggest_categorical(key.name, key.choices)
        return key.default if value is None else value  # Optuna's type has None; our choices do not
    if key.type == "int":
        return trial.suggest_int(key.name, int(key.low), int(key.high), log=key.log)
    return trial.suggest_float(key.name, key.low, key.high, log=key.log)


def _overlay(
    keys: Mapping[str, Key], document: Mapping[str, Any], file: str, *, scratch: Sequence[str], new: list[str]
) -> dict[str, Key]:
    """Return the keys, replaced by a file's tables. It may add those of `new`, and no others.

    Of the sections for models without pretrained weights those of `scratch` count; the others are checked.
    """
    result = dict(keys)

    def put(table: Table, name: str) -> Key:
        # The user's narrower choices of one key do not invalidate another key's `when`: packaged keys count.
        earlier = dict(takewhile(lambda item: item[0] != name, (keys if name in keys else result).items()))
        key = parse_key(table, name, known=keys.get(name, result.get(name)), earlier=earlier)
        check_when(table, key, earlier)
        return key

    for name, items in document.items():
        if name in SECTIONS:
            continue
        if name not in keys and name not in new:
            raise BadInput(f"{file}: the method has no key [{name}]. {nearest(name, keys)}")
        result[name] = put(_table(file, name, items), name)
    for section in (name for name in SECTIONS if name in document):
        changed = dict(result)
        for name, items in _table(file, section, document[section]).items.items():
            table = _table(file, f"{section}.{name}", items)
            if name not in result:
                rule = f"[{section}] changes keys of the space"
                raise table.refuse(rule, f"{name!r} is none", nearest(name, result))
            changed[name] = put(Table(file, table.key, _merge(result[name].table(), table.items)), name)
        if section in scratch:
            result = changed
    return result


def _table(file: str, name: str, items: Any) -> Table:
    if not isinstance(items, dict):
        raise BadInput(
            f"{file}: {name} = {items!r}. A key has a table of its own. Write a line [{name}] and, "
            f"under it, value = {items!r} or a range."
        )
    return Table(file, name, items)


def _merge(table: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table with single attributes changed; changes of another form (a value for a range) replace it."""
    forms = FORMS.keys() & changes.keys()
    return {**changes} if forms and not forms & table.keys() else {**table, **changes}


def _toml(value: Any) -> str:
    """Return a value in TOML's notation: JSON's, but for inline tables and DEL, which only TOML escapes."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_toml(inner)}" for name, inner in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


@cache
def _shared_names() -> frozenset[str]:
    files = [shared_file(), *(folder() / DISTILL).glob("*.toml")]
    return frozenset(name for path in files for name in read_document(path) if name not in SECTIONS)
