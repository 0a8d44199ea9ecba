"""The dense network of a new study, trained beside its first trials.

Nothing that a trial does depends on it: a front begins at the constant prediction. Until it is trained the study has no
spec in the store, so that no reader lists it, and its ledger is frozen to one without it. A search that ends before
goes on by the same command like any other; one that asks for something else begins anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from pipeline.driver.execute import Cluster, SideTasks, room
from pipeline.driver.search.dense import DenseTraining
from pipeline.driver.search.resolved import ResolvedSearch
from pipeline.driver.search.spec import make_spec
from pipeline.driver.search.watcher import Watcher
from pipeline.study.ledger import Ledger
from pipeline.study.metrics import AGREEMENT
from pipeline.study.records import Anchors, StudySpec
from pipeline.trial.anchors import DenseJob, DenseRun, train_dense_beside
from pipeline.trial.distillation import NONE

NEEDS_NO_DENSE = ("compression", "sparsity")  # objectives that are no shares of the dense network's


def trains_beside(resolved: ResolvedSearch, cluster: Cluster) -> bool:
    """Return whether the dense network is trained beside trials: none needs it, and there is room for both."""
    needed = (
        resolved.own
        or resolved.inputs.distill != NONE
        or resolved.inputs.metric_name == AGREEMENT
        or resolved.space.may_have("start_dense", True)
        or resolved.objective not in NEEDS_NO_DENSE
    )
    # on a GPU the dense network's memory decides how many trials share it
    roomy = cluster.concurrent > 1 and not cluster.gpus_per_trial
    return roomy and not needed and not DenseTraining(resolved).done


def pending_spec(resolved: ResolvedSearch) -> StudySpec:
    """Return the study's spec, all but its dense network."""
    inputs = resolved.inputs
    return make_spec(resolved, Anchors.pending(inputs.kind.constant(inputs.data.validation)))


class DenseBeside:
    """The dense networks that train beside a study's trials, and its spec when they are trained."""

    def __init__(
        self,
        resolved: ResolvedSearch,
        cluster: Cluster,
        ledger: Ledger,
        watcher: Watcher,
        *,
        later: Callable[[], Cluster],
    ) -> None:
        """Start none yet: `at_once` does.

        Args:
            resolved: the search.
            cluster: what trials and dense networks run on.
            ledger: of the study.
            watcher: shows how many are trained.
            later: gives what trials run on when they are trained: their memory is known then.
        """
        self._resolved, self._ledger, self._later = resolved, ledger, later
        self._room = room(cluster)
        self._training = DenseTraining(resolved)
        recipe = self._training.recipe
        self._tasks: SideTasks[DenseRun | None] | None = SideTasks(
            cluster,
            partial(train_dense_beside, recipe=recipe),
            resolved.inputs,
            [DenseJob(rate) for rate in _likely_first(recipe.learning_rates)],
            at_once=cluster.concurrent - 1,
            done=watcher.dense,
            prepare=_with_early_metrics,
        )

    def at_once(self) -> int:
        """Return how many trials may run at once, now: the first one has room from the start."""
        if self._tasks is None:
            return self._room()
        return max(1, self._room() - self._tasks.running())

    def spec(self, *, wait: bool = False) -> StudySpec | None:
        """Return the study's spec, once, when its dense network is trained; None before that, and after.

        With `wait`, not before it is trained.

        Raises:
            BadInput: training diverged at every learning rate.
        """
        if self._tasks is None or (self._tasks.running() and not wait):
            return None
        runs = self._tasks.results()
        if not self._training.done:
            self._training.write(runs)
        spec = make_spec(self._resolved, self._training.anchors())
        self._ledger.freeze(spec)
        self._resolved.study.write_spec(spec)
        self._room = room(self._later())
        self._tasks = None  # at the end: the ledger may be away, and this is called again
        return spec


def _likely_first(rates: Sequence[float]) -> list[float]:
    """Return the rates, the middle one first: next to it others are known to be poor early in their training."""
    middle = sorted(rates)[len(rates) // 2]
    return [middle, *(rate for rate in rates if rate != middle)]


def _with_early_metrics(job: DenseJob, runs: Sequence[DenseRun | None]) -> DenseJob:
    """Return a job that knows what the networks before it had at their early looks."""
    known = [run.early_metric for run in runs if run is not None and run.early_metric is not None]
    return replace(job, best_early=max(known, default=None))
