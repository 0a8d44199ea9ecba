"""Rounds of chaos and what came of them, for people."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from tests.chaos.audit import Audit
from tests.chaos.rounds import Round


def table(rounds: list[Round]) -> Table:
    """The rounds, for people."""
    found = Table("round", "struck", "process", "after", "ended", "running then", "at work again", "note")
    for each in rounds:
        at_work = ", ".join(
            f"{one.number} ({'checkpoint' if one.has_checkpoint else 'no checkpoint'})"
            for one in each.running
        )
        found.add_row(
            str(each.number + 1),
            each.victim,
            str(each.process),
            f"{each.after_s:.1f} s",
            str(each.ended),
            at_work,
            f"{each.back_s:.1f} s",
            each.note,
        )
    return found


def report(console: Console, rounds: list[Round], found: Audit) -> None:
    """Prints the table and the verdict."""
    console.print(table(rounds))
    console.print(
        f"{found.trials} trials: {found.states}. {len(found.lost)} lost, {len(found.doubled)} doubled, "
        f"{len(found.undead)} undead, {len(found.repeated)} done again, {len(found.from_nothing)} begun anew "
        f"although a checkpoint was there; {len(found.resumed)} went on from a checkpoint."
    )
    for name in ("lost", "doubled", "undead", "repeated", "from_nothing"):
        for line in getattr(found, name):
            console.print(f"[red]{name}[/]: {line}")
    for number, reason in found.failed.items():
        console.print(f"trial {number} failed: {reason}")
