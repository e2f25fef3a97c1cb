"""Stored models in the catalogue: they come and go, and a project sees its own ones alone."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest

from kairos.llm.calls.model_calls import cost_of
from kairos.llm.calls.model_traits import ModelTraits
from kairos.llm.calls.providers import Usage
from kairos.llm.calls.served_context import ModelContexts, ServedContext
from kairos.llm.catalog.catalog import Catalog, Model, ModelOrigin, Price
from kairos.llm.catalog.provider_kinds import ProviderKind, is_private_host, local_by_default
from kairos.llm.health.health import ModelHealth, ModelHealthState
from kairos.llm.routing.candidates import CandidateSets
from kairos.llm.routing.decision import Request
from kairos.llm.routing.live_models import LiveModels
from kairos.llm.routing.routing_errors import ModelWithdrawn
from kairos.llm.routing.scoring import Reason
from kairos.llm.routing.selection import ModelSelector
from kairos.tenancy import ProjectId

OURS, THEIRS = ProjectId(uuid4()), ProjectId(uuid4())
PROVIDER = uuid4()


def stored(name: str, owner: ProjectId | None = None, **values: object) -> Model:
    fields = {"origin": ModelOrigin.STORED, "provider_id": PROVIDER, "project_id": owner, "api_key": "k", **values}
    return Model(name, name, "https://models", **fields)  # type: ignore[arg-type]


def configured(name: str, **values: object) -> Model:
    return Model(name, name, "http://local", **values)  # type: ignore[arg-type]


def names(models) -> list[str]:
    return [model.name for model in models]


def live(catalog: Catalog) -> tuple[LiveModels, ModelHealth]:
    health = ModelHealth()
    return LiveModels(catalog, health, ModelContexts(ModelTraits()), lambda: None), health


def test_stored_models_are_shared_or_of_one_project():
    catalog = Catalog([configured("base")])
    catalog.replace_stored([stored("shared"), stored("ours", OURS), stored("theirs", THEIRS)])
    assert names(catalog) == ["base", "shared"]
    assert names(catalog.of(OURS)) == ["base", "shared", "ours"]
    assert names(catalog.of(THEIRS)) == ["base", "shared", "theirs"]
    assert catalog.find("theirs", OURS) is None
    assert set(names(catalog.every)) == {"base", "shared", "ours", "theirs"}
    catalog.replace_stored([])
    assert names(catalog.of(OURS)) == ["base"]


def test_configured_model_keeps_its_name():
    catalog = Catalog([configured("base")])
    catalog.replace_stored([stored("base"), stored("base", OURS)])
    assert [model.origin for model in catalog] == [ModelOrigin.FILE]
    assert names(catalog.of(OURS)) == ["base"]


def test_adapters_stay_when_stored_models_are_replaced():
    catalog = Catalog([configured("base")])
    catalog.replace_adapters(
        [configured("a1", base="base", project_id=OURS), configured("a2", base="s", project_id=OURS)]
    )
    catalog.replace_stored([stored("s")])
    assert names(catalog.of(OURS)) == ["base", "a1", "s", "a2"]
    assert names(Catalog(catalog.every).of(OURS)) == names(catalog.of(OURS)), "also when built from all models"


def test_adapter_of_a_stored_base_is_no_stored_model():
    base = stored("s")
    adapter = replace(base, name="a", base="s", project_id=OURS)
    catalog = Catalog([base, adapter])
    assert (names(catalog), names(catalog.adapters)) == (["s"], ["a"])


def test_call_of_a_replaced_model_uses_its_new_key():
    catalog = Catalog([configured("base")])
    models, _ = live(catalog)
    models.replace_stored([stored("s")])
    called = stored("s")
    models.replace_stored([stored("s", api_key="new")])
    assert models.current(called).api_key == "new"
    assert models.was_changed(called)
    assert not models.was_changed(catalog.get("s"))


@pytest.mark.parametrize("now", [[], [stored("s", provider_id=uuid4())], [stored("s", problem="lost", api_key=None)]])
def test_removed_model_is_not_called(now: list[Model]):
    catalog = Catalog([])
    models, _ = live(catalog)
    models.replace_stored([stored("s")])
    called = stored("s")
    models.replace_stored(now)
    with pytest.raises(ModelWithdrawn):
        models.current(called)


def test_configured_models_and_adapters_are_called_as_they_are():
    models, _ = live(Catalog([]))
    for model in (configured("base"), configured("a", base="base", project_id=OURS)):
        assert models.current(model) is model


def test_unusable_model_is_excluded_and_shown():
    catalog = Catalog([configured("base")])
    models, health = live(catalog)
    models.replace_stored([stored("s", problem="its key is lost")])
    assert health.status("s", 0.0).state is ModelHealthState.UNHEALTHY
    selector = ModelSelector(catalog.every, health=health, last_resort="s")
    decision = selector.select(Request(OURS, "code"), 0.0)
    assert decision.chosen == "base"
    assert [(e.model, e.reason, e.detail) for e in decision.excluded] == [("s", Reason.UNUSABLE, "its key is lost")]
    named = selector.select(Request(OURS, "code", model="s"), 0.0)
    assert named.chosen is None, "not even as the last resort"
    models.replace_stored([stored("s")])
    assert health.status("s", 0.0).state is ModelHealthState.HEALTHY


def test_projects_own_models_are_candidates_of_that_project_alone():
    catalog = Catalog([configured("base")])
    catalog.replace_stored([stored("ours", OURS)])
    sets = CandidateSets(catalog.every)
    assert [entry.name for entry in sets.of(OURS).entries] == ["base", "ours"]
    assert [entry.name for entry in sets.of(THEIRS).entries] == ["base"]


def test_session_and_incumbent_survive_a_vanished_model():
    selector = ModelSelector([configured("base", tier=0.1), stored("s", tier=0.9, local=True)])
    request = Request(OURS, "code", session="one")
    assert selector.select(request, 0.0).chosen == "s"
    selector.replace_models([configured("base", tier=0.1)])
    assert selector.select(request, 1.0).chosen == "base"
    assert selector.select(Request(OURS, "code"), 2.0).chosen == "base"


def test_contexts_of_removed_models_are_forgotten():
    contexts = ModelContexts(ModelTraits())
    model = stored("s", context_declared=False)
    contexts.update(model, ServedContext(4096))
    contexts.keep([])
    assert contexts.served(model) is None


def test_secrets_of_a_model_are_not_in_its_representation():
    shown = repr(stored("s", api_key="sk-hidden", headers={"X-Key": "hdr-hidden"}))
    assert "hidden" not in shown


def test_price_per_hour_counts_the_duration():
    model = configured("base", local=True, price_per_hour=3.6)
    assert cost_of(model, Usage(10, 10), 10.0) == pytest.approx(0.01)
    priced = configured("base", price=Price(1.0, 1.0), price_per_hour=3.6)
    assert cost_of(priced, Usage(1_000_000, 0), 10.0) == pytest.approx(1.01)
    assert cost_of(configured("base"), Usage(1, 1), 10.0) is None


@pytest.mark.parametrize(
    ("host", "private"),
    [
        *((host, True) for host in ("localhost", "127.0.0.1", "10.0.0.4", "::1", "gpu", "host.docker.internal")),
        *((host, True) for host in ("a.local", "A.LAN.", "vllm.models.svc")),
        *(
            (host, False)
            for host in ("api.openai.com", "8.8.8.8", "ollama.com", "2606:4700::1111", "local.example.com")
        ),
    ],
)
def test_private_hosts(host: str, private: bool):
    assert is_private_host(host) is private


def test_local_kind_at_a_public_address_is_not_local_by_default():
    assert local_by_default(ProviderKind.OLLAMA, "http://127.0.0.1:11434/v1")
    assert not local_by_default(ProviderKind.OLLAMA, "https://ollama.example.com/v1")
    assert not local_by_default(ProviderKind.OPENAI, "http://127.0.0.1:1/v1")
