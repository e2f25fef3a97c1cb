"""The command line's client: which servers receive credentials, and how refusals are reported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kairos.cli.addresses import is_loopback
from kairos.cli.client import Client, NotRunning, NotSignedIn, Refused
from kairos.cli.credentials import CredentialFile, StoredCredential
from kairos.cli.transport import NotKairos, Redirected
from kairos.errors import InvalidInput
from tests.kit.recording_server import RecordingServer, recording_server

SECRET = "the-local-secret"
TOKENS = {"access_token": "new-access", "refresh_token": "new-refresh", "project_id": None}


def data_folder(folder: Path, address: object) -> Path:
    (folder / "runtime.json").write_text(json.dumps({"pid": 1, "address": address}))
    (folder / "local-secret").write_text(SECRET)
    return folder


def client(address: str, folder: Path) -> Client:
    return Client(address, folder, CredentialFile(folder / "credentials.json"))


def signed_in(server: RecordingServer, folder: Path) -> Client:
    CredentialFile(folder / "credentials.json").put(server.address, StoredCredential("a-token", "r-token", None))
    return client(server.address, folder)


def test_local_secret_is_sent_to_the_daemon_of_the_data_folder(tmp_path: Path):
    with recording_server(body=json.dumps(TOKENS).encode()) as daemon:
        client(daemon.address, data_folder(tmp_path, daemon.address)).sign_in()
        assert json.loads(daemon.received[0].body)["secret"] == SECRET


@pytest.mark.parametrize("written", ["http://127.0.0.1:1", "http://example.org", "", None, 7, "nonsense"])
def test_local_secret_is_sent_to_no_other_address(tmp_path: Path, written: object):
    with recording_server() as other:
        with pytest.raises(NotSignedIn):
            client(other.address, data_folder(tmp_path, written)).get("/api/auth/me")
        assert SECRET not in other.received_text


@pytest.mark.parametrize("content", [b"[]", b"\xff\xfe", b"{", b'"x"', b"[" * 100_000])
def test_secret_is_not_sent_if_the_runtime_file_is_damaged(tmp_path: Path, content: bytes):
    with recording_server() as other:
        data_folder(tmp_path, other.address)
        (tmp_path / "runtime.json").write_bytes(content)
        with pytest.raises(NotSignedIn):
            client(other.address, tmp_path).get("/api/auth/me")
        assert SECRET not in other.received_text


def test_localhost_means_the_address_that_the_daemon_bound(tmp_path: Path):
    folder = data_folder(tmp_path, "http://127.0.0.1:8484")
    assert client("http://localhost:8484/", folder).address == "http://127.0.0.1:8484"
    assert client("http://localhost:8485", folder).address == "http://localhost:8485"
    assert client("http://localhost.example:8484", folder).address == "http://localhost.example:8484"


@pytest.mark.parametrize("host", ["127.1", "2130706433", "[::1]", "[::ffff:127.0.0.1]", "localhost.", "a.localhost"])
def test_every_spelling_of_loopback_is_recognised(host: str):
    assert is_loopback(f"http://{host}:8484")


@pytest.mark.parametrize("host", ["10.1", "127.0.0.1.example.org", "localhost.example.org", "mylocalhost", "[::2]"])
def test_other_hosts_are_not_loopback(host: str):
    assert not is_loopback(f"http://{host}:8484")


def test_address_of_all_interfaces_is_replaced_by_loopback(tmp_path: Path):
    folder = data_folder(tmp_path, "http://0.0.0.0:8484")
    assert client("http://0.0.0.0:8484", folder).address == "http://127.0.0.1:8484"
    assert client("http://127.0.0.1:8484", folder)._local_secret() == SECRET


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(tmp_path: Path, status: int):
    with (
        recording_server() as attacker,
        recording_server(status=status, headers={"Location": attacker.address}) as first,
    ):
        session = signed_in(first, tmp_path)
        for call in (
            lambda: session.get("/api/tasks"),
            lambda: session.post("/api/tasks", {}),
            lambda: session.open("GET", "/"),
        ):
            with pytest.raises(Redirected, match=rf"{first.address} redirects to {attacker.address}.*--url"):
                call()
        with pytest.raises(Redirected):
            session._transport.save("/x", {"Authorization": "Bearer a-token"}, tmp_path / "file")
        assert attacker.received == []


def test_no_redirect_carries_the_local_secret(tmp_path: Path):
    with recording_server() as attacker, recording_server(status=307, headers={"Location": attacker.address}) as daemon:
        with pytest.raises(Redirected):
            client(daemon.address, data_folder(tmp_path, daemon.address)).get("/api/tasks")
        assert attacker.received == []


def test_token_is_sent_only_to_its_address(tmp_path: Path):
    with recording_server() as one, recording_server() as other:
        signed_in(one, tmp_path).get("/api/tasks")
        assert one.received[0].headers["Authorization"] == "Bearer a-token"
        with pytest.raises(NotSignedIn):
            client(other.address, tmp_path).get("/api/tasks")
        assert "a-token" not in other.received_text
        assert "r-token" not in other.received_text


def test_non_ascii_letters_are_not_escaped(tmp_path: Path):
    with recording_server() as server:
        signed_in(server, tmp_path).post("/api/tasks", {"prompt": "ş" * 1000})
        assert len(server.received[0].body) < 2100
        assert json.loads(server.received[0].body)["prompt"] == "ş" * 1000


@pytest.mark.parametrize("value", ["\ud800", float("nan"), float("inf")])
def test_value_that_json_cannot_represent_is_invalid_input(tmp_path: Path, value: object):
    with recording_server() as server:
        with pytest.raises(InvalidInput):
            signed_in(server, tmp_path).post("/api/tasks", {"prompt": value})
        assert server.received == []


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (413, b'{"detail": "The body is larger than 1 MB."}', "The body is larger than 1 MB."),
        (413, b"<html><head><title>413 Request Entity Too Large</title></head><body>nginx</body>", "Too Large nginx"),
        (421, b'{"code": "wrong_host", "detail": "Not served under this name."}', "Not served under this name."),
        (429, b'{"detail": "Too many tries. Wait 7 s."}', "Wait 7 s"),
        (500, b"", "answered 500"),
        (502, b"Bad Gateway", "Bad Gateway"),
        (400, b"[1, 2]", "[1, 2]"),
        (422, b'{"detail": [{"loc": ["body"], "msg": "wrong"}]}', "wrong"),
        (503, b"\xff\xfe\x00", "answered 503"),
        (404, b"[" * 100_000, "answered 404"),
    ],
)
def test_refusal_contains_the_message_of_the_server(tmp_path: Path, status: int, body: bytes, reason: str):
    with recording_server(status=status, body=body) as server:
        with pytest.raises(Refused) as refused:
            signed_in(server, tmp_path).open("GET", "/api/tasks")
        assert reason in str(refused.value)
        assert refused.value.http_status == status
        assert len(str(refused.value)) < 1200


def test_refusal_is_read_although_the_server_did_not_read_the_body(tmp_path: Path):
    """The server closes the connection while the body is being sent."""
    refusal = recording_server(status=413, body=b'{"detail": "too large"}', reads_bodies=False)
    with refusal as server, pytest.raises(Refused, match="too large"):
        signed_in(server, tmp_path).open("POST", "/api/x", {"prompt": "x" * 30_000_000})


@pytest.mark.parametrize("body", [b"<html>Welcome to another program</html>", b"\xff\xfe", b"{", b"[" * 100_000])
def test_another_program_at_the_address_is_reported(tmp_path: Path, body: bytes):
    with recording_server(body=body) as server, pytest.raises(NotKairos, match=server.address):
        signed_in(server, tmp_path).get("/api/tasks")


@pytest.mark.parametrize("task_id", ["a b", "ş", "x\r\nX-Injected: 1", "\x00", "\ud800", "../..", "#", "%zz"])
def test_unusual_id_is_requested_and_injects_no_header(tmp_path: Path, task_id: str):
    with recording_server() as server:
        signed_in(server, tmp_path).get(f"/api/tasks/{task_id}")
        assert "X-Injected" not in server.received[0].headers


def test_invalid_header_is_invalid_input(tmp_path: Path):
    with recording_server() as server, pytest.raises(InvalidInput, match="Idempotency-Key"):
        signed_in(server, tmp_path).post("/api/tasks", {}, {"Idempotency-Key": "ş\r\nX: 1"})


@pytest.mark.parametrize(
    "address",
    ["", "x", "localhost:8484", "ftp://x", "http://", "http://[::1", "http://x:99999", "http://u:p@x", "http://a b",
     "http://x/?q=1", "http://x/#f", "http://ş", "http://x/\x00", "javascript:alert(1)", "file:///etc/passwd"],
)  # fmt: skip
def test_invalid_address_is_invalid_input(tmp_path: Path, address: str):
    with pytest.raises(InvalidInput, match="is not an address"):
        client(address, tmp_path)


def test_spellings_of_an_address_are_normalised(tmp_path: Path):
    forms = ["HTTP://Kairos.Example:80/", "http://kairos.example", " http://kairos.example:80 "]
    assert {client(form, tmp_path).address for form in forms} == {"http://kairos.example"}
    assert client("https://kairos.example:443/base/", tmp_path).address == "https://kairos.example/base"


def test_unreachable_address_is_reported_with_a_remedy(tmp_path: Path):
    with pytest.raises(NotRunning, match="kairos start"):
        client("http://127.0.0.1:1", tmp_path).open("GET", "/api/health/live")
