"""What is refused of a search before torch is imported, which takes seconds: what is mistyped most often."""

from __future__ import annotations

from pipeline.driver.search.option import options_of
from pipeline.driver.search.request import Search
from pipeline.study.nearest import did_you_mean
from pipeline.study.records import BadInput
from pipeline.study.space import known_methods
from pipeline.task.place import check_place


def check_early(request: Search) -> None:
    """Refuse an option's value, a method or a task that is not there, and a file without the columns that are used.

    Raises:
        BadInput: with the first of them.
    """
    check_method_name(request)
    check_choices(request)
    check_place(
        request.task, text=request.text, label=request.label, metric=request.metric, kind=request.kind
    )


def check_method_name(request: Search) -> None:
    """Refuse a method that is not there.

    Raises:
        BadInput: with the nearest name.
    """
    methods = known_methods()
    if request.method not in methods:
        raise BadInput(
            f"There is no method {request.method!r}.{did_you_mean(request.method, methods)} "
            f"Methods: {', '.join(methods)}."
        )


def check_choices(request: Search) -> None:
    """Refuse a value that is not among the choices of its option.

    Raises:
        BadInput: with the nearest one.
    """
    for field in options_of(Search):
        value, choices = getattr(request, field.name), field.option.choices
        if choices and value is not None and value not in choices:
            raise BadInput(
                f"{field.flag} is {value!r}.{did_you_mean(value, choices)} It is one of {', '.join(choices)}."
            )
