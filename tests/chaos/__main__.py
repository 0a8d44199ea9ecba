"""make chaos: a search on three Ray nodes, struck twenty times or more; then its books are read.

    python -m tests.chaos [--rounds 20] [--seed 0] [--folder /tmp/prunefront-chaos] [--json FILE] [--on postgresql|s3]

Each round kills, at a random moment, the driver, a worker node, a trial's process or the MLflow server; or it pauses
the driver while another one takes over; or it sends the driver SIGTERM. An interrupted chaos goes on in its folder:
remove that to begin anew. Ends with 1 if anything was lost, doubled, left running, done again or begun anew in spite of
a checkpoint.

With --on postgresql the ledger is a PostgreSQL server of chaos's own, with --on s3 the store is in a bucket of moto's,
too. Both end with chaos, which then cannot go on.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from tests.chaos.printed import report
from tests.chaos.rounds import Chaos, Round, schedule
from tests.kit.bucket import KEYS, bucket_server
from tests.kit.postgres import PASSWORD, postgres


def main() -> int:
    """Runs the rounds, prints them and writes them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/prunefront-chaos"))
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--on", choices=("files", "postgresql", "s3"), default="files")
    chosen = parser.parse_args()
    with ExitStack() as stack:
        ledger = store = ""
        if chosen.on != "files":
            server = stack.enter_context(postgres())
            server.create("chaos")
            os.environ["PGPASSWORD"] = PASSWORD
            ledger = server.url("chaos")
        if chosen.on == "s3":
            store = "s3://bucket/chaos"
            os.environ |= KEYS | {"AWS_ENDPOINT_URL": stack.enter_context(bucket_server())}
        victims = schedule(chosen.rounds, chosen.seed)
        return _run(
            chosen, Chaos(chosen.folder, victims=victims, seed=chosen.seed, store=store, ledger=ledger)
        )


def _run(chosen: argparse.Namespace, chaos: Chaos) -> int:
    console = Console(width=150)

    def told(found: Round) -> None:
        console.print(
            f"round {found.number + 1}: {found.victim} (process {found.process}) struck after {found.after_s:.1f} s "
            f"with {found.ended} trials ended; at work again after {found.back_s:.1f} s {found.note}"
        )

    audit = chaos.run(told)
    report(console, chaos.state.rounds, audit)
    rounds = [asdict(each) for each in chaos.state.rounds]
    text = json.dumps({"seed": chosen.seed, "rounds": rounds, "audit": asdict(audit)}, indent=1)
    (chosen.json or chosen.folder / "chaos.json").write_text(text + "\n")
    return 0 if audit.clean else 1


if __name__ == "__main__":
    sys.exit(main())
