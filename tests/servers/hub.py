"""The hub's API as far as data sets are read through it, for the real `huggingface_hub` and `datasets`.

Repository and revision, tree with pages, paths-info, refs, resolve with its two kinds of redirect, gated repositories.
What it sends is what `huggingface_hub` reads (`utils/_http.py`, `file_download.py`, `hf_api.py`); the CDN is the same
server under another name, so that a token that follows a redirect off the hub shows in the record of requests.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlencode

import yaml

from servers.commits import Commit, Entry, Repo, entry_as_json
from servers.conditional import answer_file
from servers.message import Request, Response, json_response

_CDN_HOST = "localhost"
_PAGE_ENTRIES = 1000
_NAME = r"(?P<repo>[^/]+/[^/]+)"
# Anybody may read these, in a gated repository too: they say how to get access.
_OPEN_FILES = ("README.md", ".gitattributes")


class Hub:
    """Serves repositories of data sets.

    Args:
        tokens: token -> the gated repositories whose terms its owner has accepted.
        page_entries: the most entries of a page of a tree.
    """

    def __init__(self, tokens: dict[str, list[str]], page_entries: int = _PAGE_ENTRIES) -> None:
        self._repos: dict[str, Repo] = {}
        self._tokens = tokens
        self._page_entries = page_entries
        # Of the trees that were asked for: the pages of a large one would each take as long as the whole.
        self._trees: dict[tuple[str, str, bool], list[dict[str, Any]] | None] = {}
        self._routes: list[tuple[str, re.Pattern[str], Callable[..., Response]]] = [
            ("GET", re.compile(rf"/api/datasets/{_NAME}(/revision/(?P<revision>[^/]+))?"), self._info),
            ("GET", re.compile(rf"/api/datasets/{_NAME}/tree/(?P<revision>[^/]+)(/(?P<path>.*))?"), self._tree),
            ("POST", re.compile(rf"/api/datasets/{_NAME}/paths-info/(?P<revision>[^/]+)"), self._paths_info),
            ("GET", re.compile(rf"/api/datasets/{_NAME}/refs"), self._refs),
            ("GET", re.compile(rf"/api/datasets/{_NAME}/auth-check"), self._auth_check),
            ("GET", re.compile(rf"/datasets/{_NAME}/resolve/(?P<revision>[^/]+)/(?P<path>.+)"), self._resolve),
            ("GET", re.compile(rf"/api/resolve-cache/datasets/{_NAME}/(?P<revision>[^/]+)/(?P<path>.+)"), self._in_git),
            ("GET", re.compile(rf"/repos/{_NAME}/(?P<sha256>[0-9a-f]{{64}})"), self._in_cdn),
        ]

    def commit(self, name: str, folder: str, branch: str = "main", gated: bool = False) -> str:
        """Make a folder's tree the newest commit of a branch; the commit's sha."""
        repo = self._repos.setdefault(name, Repo(name=name, gated=gated))
        return repo.commit(Path(folder), branch)

    async def answer(self, request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        if "authorization" in request.headers and self._granted(request) is None and "/repos/" not in request.target:
            return _error(401, "", "Invalid credentials in Authorization header")
        for wanted, pattern, route in self._routes:
            # Parts are quoted one by one: a branch such as refs/pr/1 is one part.
            if wanted == method and (found := pattern.fullmatch(request.quoted_path)):
                parts = {name: unquote(part) for name, part in found.groupdict().items() if part is not None}
                repo = self._repos.get(parts.pop("repo"))
                if repo is None:
                    return self._no_repo(request)
                if "revision" not in parts:
                    return route(request, repo, **parts)
                if (commit := repo.find(revision := parts.pop("revision"))) is None:
                    return _error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
                return route(request, repo, commit=commit, **parts)
        return _error(404, "", "Sorry, we can't find the page you are looking for.")

    def _info(self, request: Request, repo: Repo, commit: Commit | None = None) -> Response:
        commit = commit or repo.commits[repo.refs["main"]]
        if asked := request.query.get("expand"):
            assert asked == "sha", "no client of ours asks for another field"
            return json_response({"_id": commit.sha[:24], "id": repo.name, "sha": commit.sha})
        return json_response(
            {
                "_id": commit.sha[:24],
                "id": repo.name,
                "author": repo.name.split("/")[0],
                "sha": commit.sha,
                "lastModified": "2024-11-01T00:00:00.000Z",
                "createdAt": "2024-10-01T00:00:00.000Z",
                "private": False,
                "gated": "auto" if repo.gated else False,
                "disabled": False,
                "tags": [],
                "downloads": 0,
                "likes": 0,
                "cardData": _card(commit),
                "siblings": [{"rfilename": name} for name in commit.files],
            }
        )

    def _tree(self, request: Request, repo: Repo, commit: Commit, path: str = "") -> Response:
        query = request.query
        key = (commit.sha, path, query.get("recursive", "").lower() in ("true", "1"))
        if key not in self._trees:
            self._trees[key] = commit.children(path, recursive=key[2])
        if (entries := self._trees[key]) is None:
            return _error(404, "EntryNotFound", f"{path} does not exist on this revision")
        start = int(query.get("cursor", 0))
        stop = start + min(self._page_entries, int(query.get("limit", self._page_entries)))
        headers = {}
        if stop < len(entries):
            fields = urlencode(query | {"cursor": str(stop)})
            headers["Link"] = f'<{request.origin}{request.quoted_path}?{fields}>; rel="next"'
        return json_response(entries[start:stop], headers=headers)

    def _paths_info(self, request: Request, repo: Repo, commit: Commit) -> Response:
        found: list[dict[str, Any]] = []
        for name in parse_qs(request.body.decode()).get("paths", []):
            if entry := commit.files.get(name):
                found.append(entry_as_json(name, entry))
            elif commit.children(name, recursive=False):
                found.append(commit.folder_as_json(name))
        return json_response(found)

    def _refs(self, request: Request, repo: Repo) -> Response:
        branches = [{"name": one, "ref": f"refs/heads/{one}", "targetCommit": sha} for one, sha in repo.refs.items()]
        return json_response({"branches": branches, "converts": [], "tags": [], "pullRequests": []})

    def _auth_check(self, request: Request, repo: Repo) -> Response:
        return self._refusal(request, repo) or json_response({})

    def _resolve(self, request: Request, repo: Repo, commit: Commit, path: str) -> Response:
        """Where a file's bytes are: in the hub's own cache (307), or in the CDN (302)."""
        if path not in _OPEN_FILES and (refusal := self._refusal(request, repo)):
            return refusal
        entry = commit.files.get(path)
        if entry is None:
            return _error(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": commit.sha})
        headers = {"X-Repo-Commit": commit.sha, "X-Linked-Size": str(entry.size), "X-Linked-Etag": entry.etag}
        if entry.sha256 is None:
            location = f"/api/resolve-cache/datasets/{repo.name}/{commit.sha}/{quote(path)}?etag={quote(entry.etag)}"
            return Response(status=307, headers={**headers, "Location": location})
        cdn = request.origin.replace("127.0.0.1", _CDN_HOST)
        location = f"{cdn}/repos/{repo.name}/{entry.sha256}?Expires=4102444800&Signature=of-the-cdn&Key-Pair-Id=K"
        return Response(status=302, headers={**headers, "Location": location})

    def _in_git(self, request: Request, repo: Repo, commit: Commit, path: str) -> Response:
        entry = commit.files[path]
        return answer_file(request, entry.path, entry.etag, {"X-Repo-Commit": commit.sha})

    def _in_cdn(self, request: Request, repo: Repo, sha256: str) -> Response:
        if "authorization" in request.headers:
            # A storage server takes one kind of authorisation, not two.
            body = b"<Error><Code>InvalidArgument</Code></Error>"
            return Response(status=400, headers={"Content-Type": "application/xml"}, body=body)
        entry = _entry_of(repo, sha256)
        # The CDN's tag is its own, and tells nothing of the digest.
        return answer_file(request, entry.path, f'"{entry.oid[::-1]}"', {})

    def _refusal(self, request: Request, repo: Repo) -> Response | None:
        """Why a gated repository's files are not given out; None where they are."""
        if not repo.gated:
            return None
        granted = self._granted(request)
        if granted is None:
            message = f"Access to dataset {repo.name} is restricted. You must have access to it and be authenticated"
            return _error(401, "GatedRepo", f"{message} to access it. Please log in.")
        if repo.name in granted:
            return None
        where = f"Visit {request.origin}/datasets/{repo.name} to ask for access."
        message = f"Access to dataset {repo.name} is restricted and you are not in the authorized list. {where}"
        return _error(403, "GatedRepo", message)

    def _granted(self, request: Request) -> list[str] | None:
        """The gated repositories open to the request's token; None where it has none."""
        return self._tokens.get(request.headers.get("authorization", "").removeprefix("Bearer "))

    def _no_repo(self, request: Request) -> Response:
        # The hub sends no code with this 401: the client guesses it from the address, over https alone.
        if self._granted(request) is None:
            return _error(401, "RepoNotFound", "Invalid username or password.")
        return _error(404, "RepoNotFound", "Repository not found")


def _entry_of(repo: Repo, sha256: str) -> Entry:
    entries = (entry for commit in repo.commits.values() for entry in commit.files.values())
    return next(entry for entry in entries if entry.sha256 == sha256)


def _card(commit: Commit) -> dict[str, Any] | None:
    """The YAML block at the beginning of README.md."""
    if (entry := commit.files.get("README.md")) is None:
        return None
    _, fence, rest = entry.path.read_text(encoding="utf-8").partition("---\n")
    return yaml.safe_load(rest.partition("\n---")[0]) if fence else None


def _error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Response:
    codes = {"X-Error-Code": code} if code else {}
    all_headers = {**codes, "X-Error-Message": message, **(headers or {})}
    return json_response({"error": message}, status=status, headers=all_headers)
