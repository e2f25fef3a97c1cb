"""The command line's way to the API. It signs in by itself on the daemon's own machine, and renews what has expired.

The standard library serves here: one request a command, and no import that a person would wait for.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, ClassVar

from kairos import config
from kairos.cli.credentials import Credential, CredentialFile
from kairos.errors import KairosError

TIMEOUT_S = 30
DOWNLOAD_TIMEOUT_S = 3600
"""Until the first byte: the file is made before it is sent."""
RUNTIME = "runtime.json"
LOCAL_SECRET = "local-secret"


class NotRunning(KairosError):
    """No Kairos answers at {address}: {reason}. Start one with `kairos start`, or name another with --url."""

    status, code, exit_code = 503, "not_running", 3


class NotSignedIn(KairosError):
    """You are not signed in at {address}. Run `kairos login --url {address}`."""

    status, code, exit_code = 401, "not_signed_in", 6


class Refused(KairosError):
    """{detail}"""

    exit_codes: ClassVar[dict[int, int]] = {401: 6, 403: 6, 404: 4, 409: 5, 413: 2, 422: 2, 429: 7, 503: 3}

    def __init__(self, status: int, code: str, detail: str, answer: dict[str, Any] | None = None) -> None:
        super().__init__(detail=detail)
        self.http_status = status
        self.problem_code = code
        self.answer = answer
        """The body, where it was JSON."""

    @property
    def exit(self) -> int:
        return self.exit_codes.get(self.http_status, 1)


class Client:
    """Calls the API of one Kairos as one user in one project."""

    def __init__(self, address: str, data_dir: Path, credentials: CredentialFile) -> None:
        self.address = address
        self._data_dir = data_dir
        self._credentials = credentials
        handlers = [urllib.request.ProxyHandler({})] if _loopback(address) else []
        self._opener = urllib.request.build_opener(*handlers)

    def get(self, path: str, **query: Any) -> Any:
        given = {name: value for name, value in query.items() if value is not None}
        return self.call("GET", path + (f"?{urllib.parse.urlencode(given, doseq=True)}" if given else ""))

    def post(self, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Any:
        return self.call("POST", path, body, headers)

    def delete(self, path: str, **query: Any) -> Any:
        return self.call("DELETE", f"{path}?{urllib.parse.urlencode(query)}")

    def download(self, path: str, target: Path) -> int:
        """An answer straight into a file, which is there once it is whole. Gives its size."""
        self.get("/api/auth/me")  # renews an access token that has run out
        credential = self._credentials.get(self.address)
        assert credential is not None
        request = urllib.request.Request(self.address + path)
        request.add_header("Authorization", f"Bearer {credential.access_token}")
        request.add_header("User-Agent", "kairos-cli")
        part = target.with_name(f".{target.name}.part")
        try:
            with self._opener.open(request, timeout=DOWNLOAD_TIMEOUT_S) as reply, _private(part) as file:
                shutil.copyfileobj(reply, file)
                if (whole := reply.headers.get("Content-Length")) and file.tell() != int(whole):
                    raise NotRunning(address=self.address, reason="the connection ended before the file did")
            part.replace(target)
        except urllib.error.HTTPError as error:
            raise _refused(error) from None
        except (urllib.error.URLError, http.client.HTTPException) as error:
            raise NotRunning(address=self.address, reason=getattr(error, "reason", error)) from None
        finally:
            part.unlink(missing_ok=True)
        return target.stat().st_size

    def upload(self, path: str, content: bytes, media_type: str) -> Any:
        """A body that is no JSON document. Raises as `call` does."""
        self.get("/api/auth/me")  # renews an access token that has run out
        credential = self._credentials.get(self.address)
        assert credential is not None
        request = urllib.request.Request(self.address + path, content, method="POST")
        request.add_header("Content-Type", media_type)
        request.add_header("Authorization", f"Bearer {credential.access_token}")
        request.add_header("User-Agent", "kairos-cli")
        return self._answer(request)

    def call(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Any:
        """One authenticated request. A refused token is renewed once. Raises `Refused`, `NotRunning`, `NotSignedIn`."""
        credential = self._credentials.get(self.address) or self.sign_in()
        try:
            return self._authorized(credential, method, path, body, headers)
        except Refused as error:
            if error.http_status != 401:
                raise
        return self._authorized(self._renewed(credential), method, path, body, headers)

    def open(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Any:
        """One request without a credential."""
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.address + path, data, dict(headers or {}), method=method)
        request.add_header("Content-Type", "application/json")
        request.add_header("User-Agent", "kairos-cli")
        return self._answer(request)

    def _answer(self, request: urllib.request.Request) -> Any:
        try:
            with self._opener.open(request, timeout=TIMEOUT_S) as reply:
                text = reply.read()
        except urllib.error.HTTPError as error:
            raise _refused(error) from None
        except (urllib.error.URLError, OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise NotRunning(address=self.address, reason=reason) from None
        return json.loads(text) if text else None

    def sign_in(self, project_id: str | None = None) -> Credential:
        """By the daemon's local secret, which only its own user can read. Raises `NotSignedIn` elsewhere."""
        try:
            secret = (self._data_dir / LOCAL_SECRET).read_text()
        except OSError:
            self.open("GET", "/api/health/live")
            raise NotSignedIn(address=self.address) from None
        return self.keep(self.open("POST", "/api/auth/local", {"secret": secret, "project_id": project_id}))

    def keep(self, tokens: Mapping[str, Any]) -> Credential:
        credential = Credential(tokens["access_token"], tokens["refresh_token"], tokens["project_id"])
        self._credentials.put(self.address, credential)
        return credential

    def switch(self, project_id: str) -> None:
        """Later commands act in this project."""
        switched = self.post(f"/api/projects/{project_id}/switch")
        credential = self._credentials.get(self.address)
        assert credential is not None
        self._credentials.put(
            self.address, Credential(switched["access_token"], credential.refresh_token, switched["project_id"])
        )

    def in_project(self, project_id: str) -> Client:
        """One that acts in this project, while later commands stay in theirs."""
        switched = self.post(f"/api/projects/{project_id}/switch")
        kept = self._credentials.get(self.address)
        assert kept is not None
        return Client(
            self.address, self._data_dir, _Borrowed(self._credentials, kept, switched["access_token"], project_id)
        )

    def _renewed(self, credential: Credential) -> Credential:
        body = {"refresh_token": credential.refresh_token, "project_id": credential.project_id}
        try:
            return self.keep(self.open("POST", "/api/auth/refresh", body))
        except Refused as error:
            if error.http_status != 401:
                raise
        self._credentials.forget(self.address)
        return self.sign_in(credential.project_id)

    def _authorized(
        self, credential: Credential, method: str, path: str, body: Any, headers: Mapping[str, str] | None
    ) -> Any:
        return self.open(method, path, body, {**(headers or {}), "Authorization": f"Bearer {credential.access_token}"})


class _Borrowed(CredentialFile):
    """A session used in another project than the file says. A renewed refresh token goes to the file all the same."""

    def __init__(self, file: CredentialFile, kept: Credential, access_token: str, project_id: str) -> None:
        self._file, self._kept = file, kept
        self._present: Credential | None = Credential(access_token, kept.refresh_token, project_id)

    def get(self, address: str) -> Credential | None:
        return self._present

    def put(self, address: str, credential: Credential) -> None:
        self._present = credential
        self._file.put(address, Credential(self._kept.access_token, credential.refresh_token, self._kept.project_id))

    def forget(self, address: str) -> None:
        self._present = None
        self._file.forget(address)


def connect(url: str | None, file: Path | None) -> Client:
    """The Kairos named, else `KAIROS_URL`, else the one that runs on this data folder, else the configured port."""
    settings = config.load(file)
    address = url or os.environ.get("KAIROS_URL") or runtime(settings.data_dir).get("address")
    host = settings.server.host.replace("0.0.0.0", "127.0.0.1")
    return Client((address or f"http://{host}:{settings.server.port}").rstrip("/"), settings.data_dir, CredentialFile())


def runtime(data_dir: Path) -> dict[str, Any]:
    """What the daemon on this data folder wrote of itself; empty where none ever ran."""
    try:
        return json.loads((data_dir / RUNTIME).read_text())
    except (OSError, json.JSONDecodeError):
        return {}


def _refused(error: urllib.error.HTTPError) -> Refused:
    text = error.read()
    try:
        answer = json.loads(text)
        assert isinstance(answer, dict)
    except (json.JSONDecodeError, AssertionError):
        words = f"The server answered {error.code}: {text[:200].decode(errors='replace')}"
        return Refused(error.code, "http_error", words)
    detail = answer.get("detail") or f"The server answered {error.code}"
    return Refused(error.code, answer.get("code", "http_error"), detail, answer)


def _private(path: Path) -> IO[bytes]:
    """A new file that only its owner can read."""
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _loopback(address: str) -> bool:
    """A proxy from the environment has no business between two programs of one machine."""
    return urllib.parse.urlsplit(address).hostname in ("127.0.0.1", "localhost", "::1")
