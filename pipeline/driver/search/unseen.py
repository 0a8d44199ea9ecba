"""A study that is not visible yet: its search has begun, and its dense network is not trained.

Another search of its name may begin anew; what the earlier one has left, and what its workers may still write, is no
part of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.study.ledger import Ledger, check_opens, shown
from pipeline.study.records import BadInput
from pipeline.study.store import StudyStore, begin_study, new_word

if TYPE_CHECKING:
    from pipeline.driver.search.resolved import ResolvedSearch


def check_ledger_of_unseen(resolved: ResolvedSearch) -> None:
    """Refuse a ledger that cannot be opened, and another one for a study without a spec.

    What is in the study's folder may be of a search that runs.

    Raises:
        BadInput: the ledger cannot be opened, or the search that made the folder has its ledger elsewhere.
    """
    study, own = resolved.study, resolved.request.ledger is None
    if not own or resolved.store.studies_db.exists():
        check_opens(resolved.ledger_url)
    place = study.ledger.read().place
    moved = own and place.startswith("sqlite")  # with its store
    if place and place != shown(resolved.ledger_url) and not moved:
        raise BadInput(
            f"{study.folder} is of a search that has its ledger at {place}, and whose dense network "
            "is not trained yet. A store and a ledger belong together. Name that ledger (--ledger), "
            "or give another --name."
        )


def begin_anew(study: StudyStore, ledger: Ledger) -> None:
    """Remove what an earlier search of the name left unseen, if the ledger does not go on with it.

    Its workers may still run, cut off from their driver: a new word distinguishes theirs from this search's. Of two
    drivers that begin, one of which was paused and taken over, the first word stays.

    Raises:
        LeaseLost: another driver has taken over; what is there is its.
    """
    counts = ledger.counts()
    if study.exists():
        return
    if counts.ended or counts.running:
        study.began.write_once(new_word())
    else:
        begin_study(study.folder, check=ledger.check)
