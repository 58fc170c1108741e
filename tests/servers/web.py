"""A web server's folder: files with ranges and conditions, and an index of each directory, as nginx gives them."""

from __future__ import annotations

from html import escape
from pathlib import Path
from urllib.parse import quote

from servers.conditional import answer_file
from servers.message import Request, Response


class Folder:
    """Serves the files below a folder."""

    def __init__(self, root: str) -> None:
        self._root = Path(root).resolve()

    async def answer(self, request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            return Response(status=405, headers={"Allow": "GET, HEAD"})
        path = (self._root / request.path.lstrip("/")).resolve()
        if not path.is_relative_to(self._root) or not path.exists():
            return Response(status=404, headers={"Content-Type": "text/html"}, body=b"<h1>404 Not Found</h1>\n")
        if path.is_dir():
            if not request.quoted_path.endswith("/"):
                return Response(status=301, headers={"Location": f"{request.quoted_path}/"})
            return Response(status=200, headers={"Content-Type": "text/html; charset=utf-8"}, body=_index(path))
        state = path.stat()
        return answer_file(request, path, f'"{int(state.st_mtime_ns):x}-{state.st_size:x}"', {})


def _index(folder: Path) -> bytes:
    names = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir())
    links = "".join(f'<a href="{quote(name)}">{escape(name)}</a>\n' for name in ["../", *names])
    return f"<html><head><title>Index</title></head><body><pre>{links}</pre></body></html>\n".encode()
