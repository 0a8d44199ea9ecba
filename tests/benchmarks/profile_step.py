"""torch.profiler's table of plain steps and of SNIP's, behind the ratios of step_time."""

from __future__ import annotations

from torch.profiler import ProfilerActivity, profile

from tests.benchmarks import subject

STEPS = 10
SHOWN = 30


def tables() -> str:
    """Both tables."""
    model, anatomy = subject.network()
    split = subject.task().train
    sort = f"self_{'cuda' if subject.GPU else 'cpu'}_time_total"
    found = []
    for what in ("plain", "snip, block", "snip, head"):
        level = what.removeprefix("snip, ")
        params = subject.defaults("snip", level=level) if level != "plain" else None
        method = subject.fresh("snip", params) if params else None
        activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if subject.GPU else [])
        subject.steps_s(model, anatomy, split, steps=2)
        with profile(activities=activities) as seen:
            subject.steps_s(model, anatomy, split, steps=STEPS, method=method)
        table = seen.key_averages().table(sort_by=sort, row_limit=SHOWN, max_name_column_width=44)
        found.append(f"{what}, {STEPS + 1} steps\n{table}")
    return "\n\n".join(found)
