"""Options that do not exist, with the nearest ones that do."""

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
