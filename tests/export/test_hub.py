"""Upload to a stand-in for the hub: a real HTTP server that speaks the part of its interface that is used."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from pipeline.export import hub
from pipeline.study.records import BadInput

TOKEN = "hf_secretsecretsecretsecret"
LARGE = (".safetensors", ".png")  # what the hub does not take as text


class Hub(ThreadingHTTPServer):
    """Repositories by name, each a dict of files; blobs by sha256; whoever has TOKEN may write."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.commits: list[str] = []
        self.blobs: dict[str, bytes] = {}

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None: ...

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def answer(self, value: Any, status: int = 200) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_PUT(self) -> None:
        content = self.body()
        self.server.blobs[hashlib.sha256(content).hexdigest()] = content
        self.answer({})

    def do_POST(self) -> None:
        content = self.body()
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.answer({"error": "Invalid credentials"}, 401)
        elif self.path == "/api/repos/create":
            asked = json.loads(content)
            name = f"{asked['organization']}/{asked['name']}"
            if asked["organization"] == "others":
                self.answer({"error": "You don't have the rights"}, 403)
                return
            self.server.repositories.setdefault(name, {})
            self.server.private[name] = asked.get("private") or asked.get("visibility") == "private"
            self.answer({"url": f"{self.server.address}/{name}", "name": name})
        elif self.path == "/api/validate-yaml":
            self.answer({"errors": [], "warnings": []})
        elif re.fullmatch(r"/api/models/.+/preupload/main", self.path):
            files = json.loads(content)["files"]
            self.answer(
                {
                    "files": [
                        {
                            "path": file["path"],
                            "uploadMode": "lfs" if file["path"].endswith(LARGE) else "regular",
                            "shouldIgnore": False,
                        }
                        for file in files
                    ]
                }
            )
        elif self.path.endswith(".git/info/lfs/objects/batch"):
            objects = [
                entry | {"actions": {"upload": {"href": f"{self.server.address}/blob/{entry['oid']}"}}}
                for entry in json.loads(content)["objects"]
            ]
            self.answer({"transfer": "basic", "objects": objects})
        elif found := re.fullmatch(r"/api/models/(.+)/commit/main", self.path):
            self.commit(self.server.repositories[found[1]], content)
            self.answer(
                {
                    "commitUrl": f"{self.server.address}/{found[1]}/commit/{'0' * 40}",
                    "commitOid": "0" * 40,
                    "hookOutput": "",
                }
            )
        else:
            self.answer({"error": f"no such thing: {self.path}"}, 404)

    def commit(self, files: dict[str, bytes], content: bytes) -> None:
        for line in content.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header":
                self.server.commits.append(value["summary"])
            elif entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.server.blobs[value["oid"]]

    def do_GET(self) -> None:
        self.answer({"error": "not found"}, 404)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    stand_in = Hub()
    thread = threading.Thread(target=stand_in.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", stand_in.address)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    yield stand_in
    stand_in.shutdown()
    thread.join()
    stand_in.server_close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "README.md").write_text("---\nlibrary_name: transformers\n---\n# A card\n")
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(bytes(range(256)) * 40)
    (tmp_path / "front.png").write_bytes(b"\x89PNG")
    return tmp_path


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # huggingface_hub's own
def test_every_file_arrives_in_one_private_commit(server: Hub, folder: Path) -> None:
    address = hub.push(folder, "me/small")
    assert address == f"{server.address}/me/small"
    assert server.repositories == {"me/small": {path.name: path.read_bytes() for path in folder.iterdir()}}
    assert server.private == {"me/small": True}
    assert server.commits == ["Exported by prunefront"]


def test_a_repository_of_others_is_refused(server: Hub, folder: Path) -> None:
    with pytest.raises(BadInput, match=r"HTTP status 403\. .*Use a token that may write there"):
        hub.push(folder, "others/small")
    assert server.repositories == {}


def test_a_wrong_token_is_refused_and_not_printed(
    server: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(BadInput, match=r"HTTP status 401\. .*Log in with") as refused:
        hub.push(folder, "me/small")
    assert "hf_wrong" not in str(refused.value)


def test_no_network_is_said(folder: Path) -> None:
    with pytest.raises(BadInput, match=r"Is there a network.* The export itself is whole, in"):
        hub.push(folder, "me/small")  # the tests run in offline mode


@pytest.mark.parametrize("name", ["a/b/c", "", "me/sm all", "-x/y", "me/small.git"])
def test_names_that_no_repository_has(name: str) -> None:
    with pytest.raises(BadInput, match="OWNER/NAME"):
        hub.check_name(name)
