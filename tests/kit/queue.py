"""A queue of trials without a study."""

from collections.abc import Mapping

from pipeline.driver.execute import Loss
from pipeline.study.records import Ask


class FiveTrials:
    """Hands out five trials, and notes in which order they end."""

    def __init__(self) -> None:
        self.asks = [Ask(number, {}, 0) for number in range(5)]
        self.ends: list[int] = []

    def next(self) -> Ask | None:
        return self.asks.pop(0) if self.asks else None

    def on_wait(self, number: int, *, ended: bool) -> None: ...
    def on_progress(self, number: int, values: Mapping[str, float]) -> None: ...
    def on_rung(self, number: int, rung: object) -> bool:
        return True

    def on_stop(self, number: int) -> None: ...
    def on_store_away(self, number: int, *, ended: bool) -> None: ...
    def on_restart(self, number: int, loss: Loss) -> bool:
        return True

    def on_end(self, number: int, error: str | None) -> None:
        self.ends.append(number)
