"""Delivery of the dashboard's files."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from kairos.api import dashboard, problems


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html>the page")
    (tmp_path / "assets" / "app-abc.js").write_text("//" + "x" * 5000)
    app = FastAPI(openapi_url=None)
    app.get("/api/things")(lambda: {"a": 1})
    dashboard.install(app, tmp_path)
    problems.install(app)
    return TestClient(app)


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/tasks", "/tasks/123", "/models/details?name=a/b.c", "/tasks/a.js", "/favicon.png", "/assets"),
        *("/apiary", "/a/api/b", "/x%0Ay", "/..%2f..%2fetc%2fpasswd.txt", "/%2e%2e/x.py"),
    ],
)
def test_every_other_path_is_a_page_of_the_application(client: TestClient, path: str):
    answer = client.get(path)
    assert (answer.status_code, answer.text) == (200, "<!doctype html>the page")
    assert answer.headers["cache-control"] == "no-cache"


def test_content_security_policy_permits_only_own_scripts_and_styles(client: TestClient):
    policy = client.get("/").headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy


def test_files_with_a_digest_in_their_name_are_immutable(client: TestClient):
    answer = client.get("/assets/app-abc.js", headers={"Accept-Encoding": "gzip"})
    assert (answer.headers["content-encoding"], "immutable" in answer.headers["cache-control"]) == ("gzip", True)
    assert int(answer.headers["content-length"]) < 200
    same = client.get("/assets/app-abc.js", headers={"If-None-Match": answer.headers["etag"]})
    assert same.status_code == 304


@pytest.mark.parametrize("path", ["/assets/gone.js", "/assets/app-abc", "/assets/", "/assets/a/b"])
def test_missing_asset_gives_404(client: TestClient, path: str):
    assert client.get(path).status_code == 404


@pytest.mark.parametrize("path", ["/api", "/api/", "/api/nothing", "/api/nothing.js", "/api%2Fnothing"])
def test_api_paths_keep_their_error_format(client: TestClient, path: str):
    assert (client.get(path).status_code, client.get(path).json()["code"]) == (404, "not_found")


def test_methods_that_change_something_are_refused(client: TestClient):
    assert client.post("/api/things").status_code == 405
    assert client.post("/tasks").status_code == 405


def test_missing_build_is_reported(tmp_path: Path):
    app = FastAPI(openapi_url=None)
    dashboard.install(app, tmp_path / "nothing")
    assert "make dashboard" in TestClient(app).get("/").text
