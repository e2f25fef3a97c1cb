"""The API and the command line find a model by any name that the catalogue accepts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import typer
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kairos.cli import models
from kairos.cli.client import Client
from kairos.cli.credentials import CredentialFile, StoredCredential
from kairos.llm.catalog.catalog import Model, ModelOrigin
from kairos.tenancy import new_id
from tests.kit.api import Caller
from tests.kit.kairos_app import KairosApp

PIECES = (
    *("", ".", "..", "add", "details", "history", "routing", "reset", "providers"),
    *("%2F", "%2e%2e", "a?b=c", "#", "&days=1", "+", " ", ":", "@", ";", "\\", "é", "😀"),
)
"""Parts of names that are other paths, or have a meaning in addresses."""
PATHS = st.lists(st.sampled_from(PIECES), min_size=1, max_size=4).map("/".join).filter(bool)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=200)

Show = Callable[[str], dict[str, Any]]


@pytest.fixture
def shown(operator: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Show:
    """`kairos model show NAME --json`; returns its output."""
    credentials = CredentialFile(tmp_path / "credentials.json")
    credentials.put(operator.address, StoredCredential(operator.token, "none", None))
    client, printed = Client(operator.address, tmp_path, credentials), list[dict[str, Any]]()
    monkeypatch.setattr(models, "context_of", lambda _: SimpleNamespace(client=lambda: client))
    monkeypatch.setattr(models.output, "show_json", printed.append)

    def show(name: str) -> dict[str, Any]:
        models.show(cast(typer.Context, None), name, 30, json=True)
        return printed.pop()

    return show


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=PATHS | TEXTS)
@example(name="add")
@example(name="foo/history")
@example(name="foo/routing")
@example(name="details")
@example(name="..")
@example(name="a//b/")
async def test_model_is_shown_and_reset_by_any_name(name: str, app: KairosApp, operator: Caller, shown: Show):
    stored = {"origin": ModelOrigin.STORED, "provider_id": new_id()}
    app.parts.llm.router.live.replace_stored([Model(name, "echo", app.models.base_url, **stored)])
    try:
        for what, field in (("details", "name"), ("history", "model"), ("routing", "model")):
            reply = await operator.get(f"/api/models/{what}", params={"name": name})
            assert (reply.status, reply[field]) == (200, name), what
        assert (await operator.post("/api/models/reset", {"name": name})).status == 204
        printed = await asyncio.to_thread(shown, name)
        assert (printed["name"], printed["history"]["model"], len(printed["routing"])) == (name, name, 1)
    finally:
        app.parts.llm.router.live.replace_stored([])
