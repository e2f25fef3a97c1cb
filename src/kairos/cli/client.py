"""The API client of the command line. It signs in automatically on the daemon's machine, and renews expired tokens."""

from __future__ import annotations

import json
import os
import urllib.parse
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from kairos import config
from kairos.cli.addresses import at_daemon, server_address
from kairos.cli.credentials import CredentialFile, NotSaved, StoredCredential
from kairos.cli.transport import NotRunning, Refused, Transport, json_body
from kairos.errors import KairosError

__all__ = ["Client", "NotRunning", "NotSignedIn", "Refused", "connect", "daemon_address", "runtime"]

RUNTIME = "runtime.json"
LOCAL_SECRET = "local-secret"


class NotSignedIn(KairosError):
    """You are not signed in at {address}. Run `kairos login {address}`."""

    status, code, exit_code = 401, "not_signed_in", 6


class Client:
    """Calls the API of one server as one user in one project.

    `data_dir` is the folder of the daemon on this machine, if there is one. Its secret is sent only to the address that
    this daemon has written there.
    """

    def __init__(self, address: str, data_dir: Path, credentials: CredentialFile) -> None:
        self._daemon = daemon_address(data_dir)
        self.address = at_daemon(server_address(address), self._daemon or "")
        self._data_dir = data_dir
        self._credentials = credentials
        self._transport = Transport(self.address)

    def get(self, path: str, **query: Any) -> Any:
        given = {name: value for name, value in query.items() if value is not None}
        return self.call("GET", path + (f"?{_query(given)}" if given else ""))

    def post(self, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Any:
        return self.call("POST", path, body, headers)

    def delete(self, path: str, **query: Any) -> Any:
        return self.call("DELETE", f"{path}?{_query(query)}")

    def download(self, path: str, target: Path) -> int:
        """Download to a file, which is created only when complete; returns its size. Raises the errors of `call`."""
        return self._transport.save(path, _bearer(self._fresh()), target)

    def upload(self, path: str, content: bytes, media_type: str) -> Any:
        """Send a body that is not a JSON document. Raises the errors of `call`."""
        headers = {"Content-Type": media_type, **_bearer(self._fresh())}
        return self._transport.send("POST", path, content, headers)

    def call(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Any:
        """Send an authenticated request; an expired token is renewed once.

        Raises `Refused`, `NotRunning`, `NotSignedIn`.
        """
        credential = self._credentials.get(self.address) or self.sign_in()
        try:
            return self._authorized(credential, method, path, body, headers)
        except Refused as error:
            if error.http_status != 401:
                raise
        return self._authorized(self._renewed(credential), method, path, body, headers)

    def open(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Any:
        """Send a request without a credential."""
        content = json_body(body) if body is not None else None
        return self._transport.send(method, path, content, {"Content-Type": "application/json", **(headers or {})})

    def sign_in(self, project_id: str | None = None) -> StoredCredential:
        """Sign in with the daemon's local secret, which only its user can read. Raises `NotSignedIn` without one."""
        secret = self._local_secret()
        if secret is None:
            self.open("GET", "/api/health/live")
            raise NotSignedIn(address=self.address)
        tokens = self.open("POST", "/api/auth/local", {"secret": secret, "project_id": project_id})
        return self._save_if_possible(tokens)

    def save(self, tokens: Mapping[str, Any]) -> StoredCredential:
        """Save a session. Raises `NotSaved`."""
        credential = StoredCredential(tokens["access_token"], tokens["refresh_token"], tokens["project_id"])
        self._credentials.put(self.address, credential)
        return credential

    def switch(self, project_id: str) -> None:
        """Make this project the active one of later commands. Raises `NotSaved`."""
        switched = self.post(f"/api/projects/{project_id}/switch")
        credential = self._credentials.get(self.address)
        assert credential is not None
        self._credentials.put(
            self.address, StoredCredential(switched["access_token"], credential.refresh_token, switched["project_id"])
        )

    def in_project(self, project_id: str) -> Client:
        """A client for this project, without changing the active project of later commands."""
        switched = self.post(f"/api/projects/{project_id}/switch")
        saved = self._credentials.get(self.address)
        assert saved is not None
        credentials = _ProjectCredentials(self._credentials, saved, switched["access_token"], project_id)
        return Client(self.address, self._data_dir, credentials)

    def _local_secret(self) -> str | None:
        """The local secret; None if the address is not that of the local daemon, or the secret cannot be read."""
        if self.address != self._daemon:
            return None
        with suppress(OSError, UnicodeDecodeError):
            return (self._data_dir / LOCAL_SECRET).read_text(encoding="ascii")
        return None

    def _fresh(self) -> StoredCredential:
        """A credential whose access token has just been accepted."""
        self.get("/api/auth/me")
        credential = self._credentials.get(self.address)
        assert credential is not None
        return credential

    def _save_if_possible(self, tokens: Mapping[str, Any]) -> StoredCredential:
        """The credential, saved if possible; otherwise the next command signs in again."""
        with suppress(NotSaved):
            return self.save(tokens)
        return StoredCredential(tokens["access_token"], tokens["refresh_token"], tokens["project_id"])

    def _renewed(self, credential: StoredCredential) -> StoredCredential:
        body = {"refresh_token": credential.refresh_token, "project_id": credential.project_id}
        try:
            return self._save_if_possible(self.open("POST", "/api/auth/refresh", body))
        except Refused as error:
            if error.http_status != 401:
                raise
        with suppress(NotSaved):
            self._credentials.remove(self.address)
        return self.sign_in(credential.project_id)

    def _authorized(
        self, credential: StoredCredential, method: str, path: str, body: Any, headers: Mapping[str, str] | None
    ) -> Any:
        return self.open(method, path, body, {**(headers or {}), **_bearer(credential)})


class _ProjectCredentials(CredentialFile):
    """A session in another project than the saved one. A renewed refresh token is still saved to the file."""

    def __init__(self, file: CredentialFile, saved: StoredCredential, access_token: str, project_id: str) -> None:
        self._file, self._saved = file, saved
        self._current: StoredCredential | None = StoredCredential(access_token, saved.refresh_token, project_id)

    def get(self, address: str) -> StoredCredential | None:
        return self._current

    def put(self, address: str, credential: StoredCredential) -> None:
        self._current = credential
        self._file.put(
            address, StoredCredential(self._saved.access_token, credential.refresh_token, self._saved.project_id)
        )

    def remove(self, address: str) -> None:
        self._current = None
        self._file.remove(address)


def connect(url: str | None, file: Path | None) -> Client:
    """A client for the given address, `KAIROS_URL`, the daemon on this data folder, or the configured port."""
    settings = config.load(file)
    credentials = CredentialFile()
    if url:
        return Client(url, settings.data_dir, credentials)
    if named := os.environ.get("KAIROS_URL"):
        return Client(server_address(named, "environment KAIROS_URL"), settings.data_dir, credentials)
    host = f"[{settings.server.host}]" if ":" in settings.server.host else settings.server.host
    usual = server_address(f"http://{host}:{settings.server.port}", "server.host")
    return Client(daemon_address(settings.data_dir) or usual, settings.data_dir, credentials)


def runtime(data_dir: Path) -> dict[str, Any]:
    """The runtime file of the daemon on this data folder; empty if none has run."""
    with suppress(OSError, ValueError, RecursionError):
        values = json.loads((data_dir / RUNTIME).read_bytes())
        return values if isinstance(values, dict) else {}
    return {}


def daemon_address(data_dir: Path) -> str | None:
    """The address of the daemon on this data folder; None if none has run or it serves no API."""
    address = runtime(data_dir).get("address")
    with suppress(KairosError):
        return server_address(address) if isinstance(address, str) and address else None
    return None


def _query(values: Mapping[str, Any]) -> str:
    return urllib.parse.urlencode(values, doseq=True, errors="surrogatepass")


def _bearer(credential: StoredCredential) -> dict[str, str]:
    return {"Authorization": f"Bearer {credential.access_token}"}
