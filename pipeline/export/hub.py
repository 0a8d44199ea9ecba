"""An exported folder -> a repository on the hub, with the account that huggingface_hub is logged in with."""

from __future__ import annotations

from pathlib import Path

from pipeline.study.records import BadInput

HINTS = {
    401: "Log in with `hf auth login`, or set HF_TOKEN.",
    403: "Use a token that may write there.",
    404: "Is the owner's name right?",
    409: "Name another repository.",
}
OTHERWISE = "Try again with the hub's own `hf upload`, or look at its status page."


def check_name(repository: str) -> None:
    """Check a repository's name, before anything is made for it.

    Raises:
        BadInput: it is no name of a repository.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise BadInput(
            f"--push is {repository!r}. It takes a repository of the hub, OWNER/NAME. {error}"
        ) from error


def push(folder: Path, repository: str) -> str:
    """Upload all files of a folder in one commit; a new repository is private. Return its address.

    Raises:
        BadInput: the hub cannot be reached, or does not take it. The folder stays.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi()
    try:
        address = api.create_repo(repository, exist_ok=True, private=True)
        api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            commit_message="Exported by prunefront",
        )
    except HfHubHTTPError as error:
        status = error.response.status_code
        raise _refused(folder, repository, f"it answers with HTTP status {status}", status) from error
    except (
        Exception
    ) as error:  # no network, offline mode, no token: each has a class of its own, of several libraries
        fact = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
        raise _refused(folder, repository, fact, None) from error
    return str(address)


def _refused(folder: Path, repository: str, fact: str, status: int | None) -> BadInput:
    hint = (
        HINTS.get(status, OTHERWISE) if status is not None else "Is there a network, and are you logged in?"
    )
    return BadInput(
        f"{repository} was not written: {fact}. --push writes to the hub as the account that you are "
        f"logged in with. {hint} The export itself is whole, in {folder}."
    )
