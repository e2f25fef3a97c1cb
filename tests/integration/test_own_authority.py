"""Providers whose certificates come from an authority of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kairos.db.models import TaskState
from tests.kit.api import Caller
from tests.kit.kairos_app import KairosApp
from tests.kit.providers import draft
from tests.kit.tls_server import Authority, tls_model_server


@pytest.fixture
def authority() -> Authority:
    return Authority.new("Own authority")


@pytest.fixture
async def address(authority: Authority, tmp_path: Path) -> AsyncIterator[str]:
    async with tls_model_server(authority.server_context(tmp_path)) as address:
        yield address


async def test_provider_is_listed_and_called_with_its_certificate(
    app: KairosApp, operator: Caller, address: str, authority: Authority
):
    provider = await operator.post("/api/providers", draft(address, ca=authority.pem))
    assert provider.status == 201
    listed = await operator.get(f"/api/providers/{provider['id']}/models")
    assert [model["name"] for model in listed["models"]] == ["large"]
    models = {"models": [{"upstream": "large", "name": "large"}]}
    assert (await operator.post(f"/api/providers/{provider['id']}/models", models)).status == 201
    async with app.working():
        task = await app.finished(await app.submit(model="large"))
    assert (task.state, task.output) == (TaskState.SUCCEEDED, "hello")


@pytest.mark.parametrize("pem", [None, Authority.new("Another one").pem], ids=["none", "another"])
async def test_unknown_certificate_is_explained(operator: Caller, address: str, pem: str | None):
    body = {name: value for name, value in draft(address, ca=pem).items() if name != "name"}
    tested = await operator.post("/api/providers/test", body)
    assert (tested.status, tested["ok"], tested["problem"]["kind"]) == (200, False, "untrusted_certificate")
    assert "certificate in PEM" in tested["problem"]["remedy"]


async def test_certificate_of_one_provider_is_not_trusted_for_another(
    operator: Caller, address: str, authority: Authority
):
    trusted = await operator.post("/api/providers", draft(address, ca=authority.pem))
    other = await operator.post("/api/providers", draft(address, name="Other"))
    results = [await operator.get(f"/api/providers/{one['id']}/models") for one in (trusted, other)]
    assert [result["ok"] for result in results] == [True, False]


async def test_private_key_is_not_accepted_as_certificate(operator: Caller, address: str, tmp_path: Path):
    pem = (tmp_path / "server.pem").read_text()
    refused = await operator.post("/api/providers", draft(address, ca=pem))
    assert refused.status == 422
    assert "private key" in str(refused.body)
    assert pem.splitlines()[1] not in str(refused.body)
