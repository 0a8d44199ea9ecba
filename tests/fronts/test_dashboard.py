"""The dashboard: who may read it, that nothing can be changed by it, and that its page follows a search."""

from __future__ import annotations

import http.client
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import pytest

from pipeline.fronts.dashboard import HOST, open_dashboard
from pipeline.study.records import BadInput
from pipeline.study.store import Asked, Store
from tests.kit.browser import CHROMIUM, browse
from tests.kit.synthetic import point, record, spec


@contextmanager
def running(store: Path, *studies: str) -> Iterator[str]:
    server, address = open_dashboard(store, studies)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield address
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def asked(
    address: str, path: str | None = None, *, method: str = "GET", host: str | None = None
) -> tuple[int, str]:
    where = urlsplit(address)
    connection = http.client.HTTPConnection(where.netloc)
    connection.request(method, path or where.path, headers={"Host": host or where.netloc})
    answer = connection.getresponse()
    found = answer.status, answer.read().decode()
    connection.close()
    return found


@pytest.fixture
def store(tmp_path: Path) -> Path:
    found = Store(tmp_path)
    found.write_spec(spec())
    found.study("toy").write_record(record(0, point(0.9, 0.2), point(0.85, 0.5, kind="recovered")))
    return tmp_path


def test_only_who_has_the_token_reads_and_nobody_writes(store: Path) -> None:
    before = {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}
    with running(store, "toy") as address:
        parts = urlsplit(address)
        assert parts.hostname == HOST
        assert len(parts.path) > 24
        status, page = asked(address)
        assert status == 200
        assert "connect-src 'self'" in page
        assert "1 trials" in page
        assert asked(address, parts.path + "stamp") == (200, "toy:1:unknown")
        for path in ("/", "/stamp", "/" + "x" * 32 + "/", parts.path + "other", parts.path[:-2] + "/"):
            assert asked(address, path)[0] == 404, path
        assert asked(address, host=f"evil.example:{parts.port}")[0] == 404  # a name that leads here
        for method in ("POST", "PUT", "DELETE"):
            assert asked(address, method=method)[0] == 501
    assert {path: path.read_bytes() for path in store.rglob("*") if path.is_file()} == before


def test_a_store_without_a_study_waits_and_an_unknown_study_is_told(tmp_path: Path, store: Path) -> None:
    with running(tmp_path / "empty") as address:
        assert "waits for the first one" in asked(address)[1]
    with pytest.raises(BadInput, match="Did you mean toy"):
        open_dashboard(store, ["toi"])
    with running(store) as address, pytest.raises(BadInput, match="cannot be opened"):
        open_dashboard(store, [], port=urlsplit(address).port or 0)


def test_the_page_of_a_search_that_has_ended_says_so(store: Path) -> None:
    study = Store(store).study("toy")
    with running(store, "toy") as address:
        study.asked.write(Asked(1, done=True))
        assert "The search has ended" in asked(address)[1]
        study.asked.write(Asked(2, done=False))  # it goes on; its files have just changed
        assert "Live: the page follows the search." in asked(address)[1]
        for path in study.folder.iterdir():
            os.utime(path, (0, 0))
        assert "No search runs." in asked(address)[1]


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
def test_the_page_follows_the_search(store: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    with running(store, "toy") as address, browse(tmp_path_factory.mktemp("profile")) as page:
        page.call("Page.navigate", url=address)
        page.wait("document.getElementById('live') !== null")
        assert page.evaluate("document.querySelector('header p').textContent").count("1 trials") == 1
        Store(store).study("toy").write_record(record(1, point(0.7, 0.9, kind="recovered")))
        page.wait(
            "document.getElementById('live') !== null && "
            "document.querySelector('header p').textContent.includes('2 trials')"
        )
        page.wait("document.querySelector('#front .main-svg') !== null")
        assert page.said == []
        assert {urlsplit(url).netloc for url in page.fetched if url.startswith("http")} == {
            urlsplit(address).netloc
        }
