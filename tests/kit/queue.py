"""A queue of trials without a study."""

from __future__ import annotations

from pipeline.driver.execute import Job


class TrialQueue:
    """Hands out five trials."""

    def __init__(self) -> None:
        self.jobs = [Job(number, {}, 0) for number in range(5)]
        self.ends: list[int] = []

    def next(self) -> Job | None:
        return self.jobs.pop(0) if self.jobs else None

    def heard(self, number: int, values: dict[str, float]) -> None: ...
    def rung(self, number: int, rung: object) -> bool:
        return True

    def stopped(self, number: int) -> None: ...
    def store_away(self, away: bool) -> None: ...
    def again(self, number: int, error: str | None) -> None: ...
    def ended(self, number: int, error: str | None) -> None:
        self.ends.append(number)
