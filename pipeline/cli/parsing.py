"""Commands as they are parsed and explained: the nearest of mistyped options, and no types that say nothing."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

from pipeline.study.nearest import did_you_mean


class Command(TyperCommand):
    """A command whose message about an unknown option names the nearest one first; typer's are sorted by name."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments.

        Raises:
            UsageError: of typer's, or click's, parser; its class is private, its fields are not.
        """
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            if (name := getattr(error, "option_name", None)) and hasattr(error, "possibilities"):
                known = [flag for each in self.params for flag in each.opts if flag.startswith("--")]
                error.message = f"No such option: {name}.{did_you_mean(name, known)}"  # type: ignore[attr-defined]
                error.possibilities = None
            raise

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, as help shows them."""
        return shown(super().get_params(ctx))


def shown(params: list[Any]) -> list[Any]:
    """Leave out the type of a flag, and show of a list the type of one: typer writes <bool> and <list[str]>."""
    for each in params:
        if getattr(each, "is_flag", False):
            each.display_type_rich = _of_a_flag
        elif getattr(each, "multiple", False) or each.nargs == -1:
            each.display_type_rich = _of_a_list
    return params


def _of_a_flag(**_: Any) -> str | None:
    return None


def _of_a_list(**_: Any) -> str | None:
    return "<str>"
