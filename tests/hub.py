"""A server on this machine that answers as the Hugging Face hub does, as far as models are pushed and fetched."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

TOKENS = {"hf_ada": "ada", "hf_eve": "eve"}
"""Who has which token; everybody writes below their own name only."""


@dataclass
class Repo:
    """A repository: its branches, and the files of each commit."""

    private: bool = False
    gated: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def commit(self, files: dict[str, bytes], message: str, branch: str = "main") -> str:
        sha = hashlib.sha1(f"{len(self.messages)}{sorted(files)}".encode()).hexdigest()
        self.commits[sha], self.branches[branch] = files, sha
        self.messages.append(message)
        return sha

    def files(self, branch: str = "main") -> dict[str, bytes]:
        return self.commits[self.branches[branch]]


class Hub(ThreadingHTTPServer):
    """The server, with what it holds and was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.repos: dict[str, Repo] = {}
        self.large: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.received: list[bytes] = []
        self.fault: int | None = None
        self.address, self.storage = (f"http://{host}:{self.server_port}" for host in ("127.0.0.1", "localhost"))

    def new(self, name: str, files: dict[str, bytes] | None = None, **facts: bool) -> Repo:
        """A new repository with a first commit."""
        self.repos[name] = repo = Repo(**facts)
        repo.commit({".gitattributes": b"*.safetensors filter=lfs\n", **(files or {})}, "initial commit")
        return repo


def is_large(path: str, content: bytes) -> bool:
    return path.endswith((".safetensors", ".bin")) or b"\0" in content[:512]


def git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Answer(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_PUT = do_GET

    def _send(self, status: int, content: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _json(self, value: Any, status: int = 200) -> None:
        self._send(status, json.dumps(value).encode(), Content_Type="application/json")

    def _refuse(self, status: int, code: str = "", message: str = "") -> None:
        headers = {"X_Error_Code": code} if code else {}
        self._send(status, json.dumps({"error": message}).encode(), X_Error_Message=message, **headers)

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, hub = unquote(urlsplit(self.path).path), self.server
        hub.asked.append(f"{self.command} {path}")
        if body:
            hub.received.append(body)
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        self.user = TOKENS.get(token)
        if hub.fault is not None:
            return self._refuse(hub.fault, message="Internal Server Error")
        if token and self.user is None and not path.startswith(("/upload", "/large")):
            return self._refuse(401, message="Invalid credentials in Authorization header")
        for pattern, answer in ROUTES:
            if found := re.fullmatch(pattern, path):
                return answer(self, body, **found.groupdict())
        return self._refuse(404, message=f"{self.command} {path}")

    def _repo(self, repo: str, *, writes: bool = False) -> Repo | None:
        """The repository, if whoever asks may see it or, so asked, write to it; else they are refused."""
        found = self.server.repos.get(repo)
        if found is None or (found.private and self.user != repo.split("/")[0]):
            self._refuse(404 if self.user else 401, "RepoNotFound" if self.user else "", "Repository not found")
        elif writes and self.user is None:
            self._refuse(401, message="Invalid username or password.")
        elif writes and self.user != repo.split("/")[0]:
            self._refuse(403, message="You don't have the required permissions")
        else:
            return found
        return None

    def _sha(self, repo: Repo, revision: str) -> str | None:
        sha = repo.branches.get(revision, revision)
        if sha not in repo.commits:
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return sha

    # What is read

    def info(self, _body: bytes, repo: str, revision: str | None) -> None:
        if (found := self._repo(repo)) and (sha := self._sha(found, revision or "main")):
            siblings = [{"rfilename": name} for name in found.commits[sha]]
            self._json({"_id": "1", "id": repo, "modelId": repo, "sha": sha, "siblings": siblings, "tags": []})

    def tree(self, _body: bytes, repo: str, revision: str) -> None:
        if (found := self._repo(repo)) and (sha := self._sha(found, revision)):
            entries: list[dict[str, Any]] = []
            for path, content in found.commits[sha].items():
                entry = {"type": "file", "path": path, "size": len(content), "oid": git_oid(content)}
                if is_large(path, content):
                    digest = hashlib.sha256(content).hexdigest()
                    entry["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 130}
                entries.append(entry)
            self._json(entries)

    def file(self, _body: bytes, repo: str, revision: str, path: str) -> None:
        if not (found := self._repo(repo)) or not (sha := self._sha(found, revision)):
            return None
        if found.gated and self.user is None:
            return self._refuse(401, "GatedRepo", f"Access to model {repo} is restricted")
        content = found.commits[sha].get(path)
        if content is None:
            return self._refuse(404, "EntryNotFound", "Entry not found")
        if is_large(path, content):
            oid = hashlib.sha256(content).hexdigest()
            self.server.large[oid] = content
            linked = {"X_Linked_ETag": f'"{oid}"', "X_Linked_Size": str(len(content))}
            return self._send(302, X_Repo_Commit=sha, Location=f"{self.server.storage}/large/{oid}", **linked)
        return self._send(200, content, X_Repo_Commit=sha, ETag=f'"{git_oid(content)}"')

    def large(self, _body: bytes, oid: str) -> None:
        self._send(200, self.server.large[oid], ETag=f'"{oid}"')

    def refs(self, _body: bytes, repo: str) -> None:
        if found := self._repo(repo):
            branches = [{"name": n, "ref": f"refs/heads/{n}", "targetCommit": s} for n, s in found.branches.items()]
            self._json({"branches": branches, "tags": [], "converts": []})

    # What is written

    def create(self, body: bytes) -> None:
        asked = json.loads(body)
        name = f"{asked['organization']}/{asked['name']}"
        url = f"{self.server.address}/{name}"
        if self.user is None:
            return self._refuse(401, message="Invalid username or password.")
        if self.user != asked["organization"]:
            return self._refuse(403, message="You don't have the rights to create a model under this namespace")
        if name in self.server.repos:
            return self._json({"url": url, "error": "You already created this model repo"}, 409)
        self.server.new(name, private=bool(asked.get("private")) or asked.get("visibility") == "private")
        return self._json({"url": url})

    def branch(self, _body: bytes, repo: str, branch: str) -> None:
        if found := self._repo(repo, writes=True):
            if branch in found.branches:
                return self._refuse(409, message="Reference already exists")
            found.branches[branch] = found.branches["main"]
            self._json({})
        return None

    def validate(self, body: bytes) -> None:
        told = yaml.safe_load(json.loads(body)["content"].split("---\n")[1])
        lists = {"language", "datasets", "tags", "model-index"}
        faults = [f"{key} is of another kind" for key, one in told.items() if isinstance(one, list) != (key in lists)]
        faults += [f"{one!r} is no language" for one in told.get("language", []) if not isinstance(one, str)]
        self._json({"errors": [{"message": one} for one in faults], "warnings": []}, 400 if faults else 200)

    def preupload(self, body: bytes, repo: str, revision: str) -> None:
        if (found := self._repo(repo, writes=True)) and (sha := self._sha(found, revision)):
            files = []
            for one in json.loads(body)["files"]:
                large = is_large(one["path"], base64.b64decode(one["sample"]))
                there = found.commits[sha].get(one["path"])
                told = {"path": one["path"], "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}
                files.append({**told, "oid": None if there is None or large else git_oid(there)})
            self._json({"files": files})

    def batch(self, body: bytes, repo: str) -> None:
        if self._repo(repo, writes=True):
            objects = [
                {**one, "actions": {"upload": {"href": f"{self.server.address}/upload/{one['oid']}"}}}
                for one in json.loads(body)["objects"]
            ]
            self._json({"transfer": "basic", "objects": objects})

    def upload(self, body: bytes, oid: str) -> None:
        assert hashlib.sha256(body).hexdigest() == oid
        self.server.large[oid] = body
        self._send(200)

    def commit(self, body: bytes, repo: str, revision: str) -> None:
        if not (found := self._repo(repo, writes=True)) or not (sha := self._sha(found, revision)):
            return
        files, message = dict(found.commits[sha]), ""
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "header":
                message = value["summary"]
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.server.large[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        new = found.commit(files, message, revision)
        self._json({"success": True, "commitOid": new, "commitUrl": f"{self.server.address}/{repo}/commit/{new}"})


_REPO = r"(?P<repo>[\w.-]+/[\w.-]+)"
ROUTES: list[tuple[str, Callable[..., None]]] = [
    ("/api/repos/create", Answer.create),
    ("/api/validate-yaml", Answer.validate),
    (rf"/api/models/{_REPO}/tree/(?P<revision>.+)", Answer.tree),
    (rf"/api/models/{_REPO}/branch/(?P<branch>.+)", Answer.branch),
    (rf"/api/models/{_REPO}/refs", Answer.refs),
    (rf"/api/models/{_REPO}/preupload/(?P<revision>.+)", Answer.preupload),
    (rf"/api/models/{_REPO}/commit/(?P<revision>.+)", Answer.commit),
    (rf"/api/models/{_REPO}(?:/revision/(?P<revision>.+))?", Answer.info),
    (rf"/{_REPO}\.git/info/lfs/objects/batch", Answer.batch),
    ("/upload/(?P<oid>[0-9a-f]+)", Answer.upload),
    ("/large/(?P<oid>[0-9a-f]+)", Answer.large),
    (rf"/{_REPO}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", Answer.file),
]


@contextmanager
def running() -> Iterator[Hub]:
    """A hub that runs in this block."""
    with Hub() as hub:
        thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()
