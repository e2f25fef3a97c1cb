"""Serve the dashboard's files, built from `dashboard/` by `make dashboard`, with a strict content security policy.

Every path outside `/api` that is not a file is a page of the single-page application and gets `index.html`, which also
shows that there is no such page. A missing file below `assets/` gives 404: a browser that still shows an older build
must not read a page as a script.
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fastapi import FastAPI, Request, Response
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException

FILES = Path(__file__).parent.parent / "dashboard_files"
INDEX = "index.html"
HASHED = "assets/"
"""Folder of files whose names contain a digest of their content."""
SMALLEST_GZIPPED = 1024

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
        "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Vary": "Accept-Encoding",
}

NOT_BUILT = b"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Kairos</title>
<h1>The dashboard is not built</h1>
<p>Kairos runs, and its API and command line work. In a checkout, <code>make dashboard</code> builds the dashboard;
restart Kairos after it.</p></html>"""


class _OutsideApi(Convertor[str]):
    """Matches every path outside `/api`, so that the API returns its own 404 and 405."""

    regex = r"(?!api(?:/|$))(?s:.*)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


@dataclass(frozen=True)
class _File:
    content: bytes
    media_type: str
    cache: str

    @cached_property
    def gzipped(self) -> bytes | None:
        small = len(self.content) < SMALLEST_GZIPPED or self.media_type.startswith(("image/png", "font/"))
        return None if small else gzip.compress(self.content, mtime=0)

    @cached_property
    def etag(self) -> str:
        return f'"{hashlib.sha256(self.content).hexdigest()[:32]}"'


def install(app: FastAPI, folder: Path = FILES) -> None:
    """Serve the built files, or a page with instructions if nothing was built."""
    files = _read(folder)
    index = files.get(INDEX, _File(NOT_BUILT, "text/html", "no-store"))

    async def page(request: Request) -> Response:
        path: str = request.path_params["path"]
        file = files.get(path)
        if file is None and path.startswith(HASHED):
            raise HTTPException(404)
        return _answer(request, file or index)

    register_url_convertor("page", _OutsideApi())
    app.add_api_route("/{path:page}", page, methods=["GET", "HEAD"], include_in_schema=False)


def _read(folder: Path) -> dict[str, _File]:
    found = {}
    for path in folder.rglob("*"):
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
            cache = "public, max-age=31536000, immutable" if name.startswith(HASHED) else "no-cache"
            found[name] = _File(path.read_bytes(), kind, cache)
    return found


def _answer(request: Request, file: _File) -> Response:
    headers = {**HEADERS, "ETag": file.etag, "Cache-Control": file.cache}
    if request.headers.get("if-none-match") == file.etag:
        return Response(status_code=304, headers=headers)
    content = file.content
    if file.gzipped is not None and "gzip" in request.headers.get("accept-encoding", ""):
        content, headers["Content-Encoding"] = file.gzipped, "gzip"
    return Response(content, headers=headers, media_type=file.media_type)
