"""--stack: what it does not go with is refused before anything is written."""

from pathlib import Path

import pytest

from pipeline.driver.execute import Cluster
from pipeline.driver.search.check import check, check_on
from pipeline.driver.search.request import Search
from pipeline.study.records import BadInput


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stack": 0}, "--stack is 0"),
        ({"stack": 4, "method": "l0"}, "--stack does not go with l0, which changes the network's pass"),
        ({"stack": 4, "distill": "kd"}, "--stack does not go with --distill"),
        ({"stack": 4, "compile": "auto"}, "--stack does not go with --compile"),
    ],
)
def test_what_it_does_not_go_with(options: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=message):
        check(Search(task="glue/sst2", model="bert-base-uncased", store=tmp_path, **options))  # type: ignore[arg-type]


def test_trials_on_cpus_are_no_stack(tmp_path: Path) -> None:
    request = Search(task="glue/sst2", model="bert-base-uncased", store=tmp_path, stack=4)
    check(request)
    check_on(request, Cluster(1, 1.0, 0.5), "bert")
    with pytest.raises(BadInput, match="--gpus-per-trial is 2"):
        check_on(request, Cluster(1, 1.0, 2.0), "bert")
    with pytest.raises(BadInput, match="--stack is 4, and these trials run on CPUs"):
        check_on(request, Cluster(1, 1.0, 0.0), "bert")
    with pytest.raises(BadInput, match="modernbert makes a mask of its own"):
        check_on(request, Cluster(1, 1.0, 0.5), "modernbert")
