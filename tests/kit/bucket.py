"""An S3 server of a test's own, and what a store has written to it."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow.fs

from pipeline.study.store import Store
from tests.kit.ports import free_port

KEYS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "s3-s3cr3t-word",
    "AWS_DEFAULT_REGION": "us-east-1",
}


@contextmanager
def bucket_server() -> Iterator[str]:
    """moto's server, with one bucket."""
    port = free_port()
    line = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    running = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 120
        while not _listens(port):
            assert running.poll() is None, f"moto ended with {running.returncode}"
            assert time.monotonic() < end, "moto does not answer"
            time.sleep(0.1)
        fs = pyarrow.fs.S3FileSystem(
            access_key="testing", secret_key="testing", endpoint_override=f"127.0.0.1:{port}", scheme="http",
            region="us-east-1", allow_bucket_creation=True,
        )  # fmt: skip
        fs.create_dir("bucket")
        yield f"http://127.0.0.1:{port}"
    finally:
        running.terminate()
        running.wait(20)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def contents(store: Store) -> dict[str, tuple[int, int]]:
    """Bytes and stamp of all objects by name, those on their way, too."""
    assert store.bucket is not None
    return {name: (found.size, found.stamp) for name, found in store.bucket._client.listing("").items()}


def records(store: Store) -> dict[str, Any]:
    return {
        name.split("/")[3]: facts
        for name, facts in contents(store).items()
        if name.endswith("record.json") and "attempt" not in name
    }
