"""A Ray job: the search, submitted to a running cluster."""

from __future__ import annotations

import shlex

from pipeline.driver.cluster.launch import Launch


def text(launch: Launch) -> str:
    """Return the command that submits the job.

    Secrets come from the head's own environment, since the dashboard shows that of a job.
    """
    submit = [
        "ray",
        "job",
        "submit",
        "--address",
        launch.dashboard,
        "--submission-id",
        launch.name,
        "--no-wait",
    ]
    needed = ", ".join(secret.variable for secret in launch.driver_secrets)
    return (
        "# Ray's token is read from ~/.ray/auth_token, or RAY_AUTH_TOKEN_PATH.\n"
        f"# The head's environment has {needed}.\n"
        f"RAY_AUTH_MODE=token {shlex.join(submit)} \\\n    -- {shlex.join(launch.command)}\n"
    )
