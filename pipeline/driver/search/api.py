"""`pipeline.search`: a search from Python, with the options of the command."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any, ParamSpec, Protocol, cast, overload

from pipeline.driver.search.in_notebook import NotebookWatcher, in_notebook
from pipeline.driver.search.option import OptionField, options_of
from pipeline.driver.search.request import Search
from pipeline.driver.search.run import run
from pipeline.driver.search.watcher import SilentWatcher, Watcher
from pipeline.fronts.front import Front

Options = ParamSpec("Options")


FIELDS = "        **options: the fields of `Search`."
_MARKS = re.compile(r"\[/?(dim)?\]")


class SearchFunction(Protocol[Options]):
    """A function of a `Search`, or of its fields by name."""

    @overload
    def __call__(self, request: Search, /, *, watcher: Watcher | None = None) -> Front: ...
    @overload
    def __call__(self, *args: Options.args, **options: Options.kwargs) -> Front: ...


def _explained(field: OptionField) -> str:
    """Return an option as a line of a docstring."""
    return f"        {field.name}: {_MARKS.sub('', field.option.help)}"


def _with_fields_of(
    request: Callable[Options, Search],
) -> Callable[[Callable[..., Front]], SearchFunction[Options]]:
    """Give a function the fields of `Search` as keyword arguments, for type checkers and for `help`."""

    def decorate(function: Callable[..., Front]) -> SearchFunction[Options]:
        first, watcher, _ = inspect.signature(function).parameters.values()
        options = (
            inspect.Parameter(
                each.name, inspect.Parameter.KEYWORD_ONLY, default=each.default, annotation=each.type
            )
            for each in options_of(Search)
        )
        function.__signature__ = inspect.Signature([first, *options, watcher])  # type: ignore[attr-defined]
        function.__doc__ = (function.__doc__ or "").replace(
            FIELDS, "\n".join(map(_explained, options_of(Search)))
        )
        return cast(SearchFunction[Options], function)

    del request
    return decorate


@_with_fields_of(Search)
def search(request: Search | None = None, /, *, watcher: Watcher | None = None, **options: Any) -> Front:
    """Run a search, as `prunefront search` does, and return its front.

    `search(task="glue/sst2", trials=32)` is short for `search(Search(task="glue/sst2", trials=32))`.

    Args:
        request: the options of the search; or give them by name.
        watcher: is called as the search proceeds; by default silent, in a notebook a cell output that changes.
        **options: the fields of `Search`.

    Raises:
        BadInput: the request cannot be carried out; nothing has been written.
        TypeError: there is no such option, or both a request and options are given.
    """
    if request is not None and options:
        raise TypeError(
            f"search takes a Search or its options, not both; given are {', '.join(options)}, too."
        )
    usual = NotebookWatcher if in_notebook() else SilentWatcher
    return run(request or Search(**options), watcher or usual())
