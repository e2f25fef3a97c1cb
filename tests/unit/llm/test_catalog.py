"""The catalog: shared models, and adapters that are added and removed, each for one project."""

from __future__ import annotations

import logging
from dataclasses import replace
from uuid import uuid4

import pytest

from kairos.llm.cache.response_key import CatalogVersions, catalog_version, model_version
from kairos.llm.catalog.catalog import Catalog, Model, Price
from kairos.tenancy import ProjectId

OURS, THEIRS = ProjectId(uuid4()), ProjectId(uuid4())


def model(name: str, **values: object) -> Model:
    return Model(name, name, "http://models", **values)  # type: ignore[arg-type]


def adapter(name: str, base: str, owner: ProjectId = OURS, **values: object) -> Model:
    return model(name, base=base, project_id=owner, **values)


def names(models) -> list[str]:
    return [each.name for each in models]


def test_project_sees_shared_models_and_its_own_adapters_after_their_base():
    catalog = Catalog([model("small"), model("large")])
    catalog.replace_adapters([adapter("l1", "large"), adapter("s1", "small"), adapter("x1", "small", THEIRS)])
    assert names(catalog.of(OURS)) == ["small", "s1", "large", "l1"]
    assert names(catalog.of(THEIRS)) == ["small", "x1", "large"]
    assert names(catalog.of(uuid4())) == names(catalog.of(None)) == ["small", "large"]


def test_catalog_as_a_collection_contains_only_configured_models():
    catalog = Catalog([model("small"), adapter("s1", "small")])
    assert (names(catalog), len(catalog), "s1" in catalog, "small" in catalog) == (["small"], 1, False, True)
    assert names(catalog.adapters) == ["s1"]


def test_adapter_of_another_project_is_treated_like_an_unknown_name():
    catalog = Catalog([model("small"), adapter("s1", "small")])
    assert catalog.find("s1", OURS) is catalog.get("s1") is not None
    assert catalog.find("s1", THEIRS) is catalog.find("s1", None) is catalog.find("nothing", OURS) is None
    assert catalog.find("small", THEIRS) is not None


def test_adapters_are_replaced_as_a_whole():
    catalog = Catalog([model("small"), adapter("s1", "small")])
    catalog.replace_adapters([adapter("s2", "small")])
    assert names(catalog.of(OURS)) == ["small", "s2"]
    assert catalog.get("s1") is None
    catalog.replace_adapters([])
    assert names(catalog.of(OURS)) == ["small"]


def test_adapter_remains_when_its_base_is_removed():
    assert names(Catalog([model("small"), adapter("g1", "gone")]).of(OURS)) == ["small", "g1"]


def test_duplicate_names_are_ignored_with_a_warning(caplog: pytest.LogCaptureFixture):
    catalog = Catalog([model("small")])
    with caplog.at_level(logging.WARNING):
        catalog.replace_adapters([adapter("small", "small"), adapter("s1", "small"), adapter("s1", "small", THEIRS)])
    assert names(catalog.of(OURS)) == ["small", "s1"]
    assert names(catalog.of(THEIRS)) == ["small"]
    assert len(caplog.messages) == 2


@pytest.mark.parametrize("wrong", [{"base": "small"}, {"project_id": OURS}])
def test_adapter_needs_a_project_and_a_base(wrong: dict):
    with pytest.raises(ValueError, match="no project or no base"):
        Catalog([]).replace_adapters([model("s1", **wrong)])


def test_version_of_an_adapter_is_the_same_in_every_replica():
    one = adapter("s1", "small", share=0.1, runner="gpu")
    other = replace(
        one, base_url="http://127.0.0.1:9", api_key="new", runner=None, share=1.0, weights="w", body={"lora": object()}
    )
    assert model_version(one) == model_version(other)
    versions = {model_version(one), model_version(replace(one, name="s2")), model_version(replace(one, base="large"))}
    assert len(versions) == 3


def test_version_of_a_model_depends_only_on_values_that_affect_answers():
    one = model("small")
    same = replace(one, weights="a.gguf", price=Price(1, 1), api_key="k", runner="gpu")
    assert model_version(one) == model_version(same)
    bodies = ({"seed": 1}, {"seed": 2}, {1: {"a", "b"}, "path": ValueError("odd")})
    assert len({model_version(one), *(model_version(replace(one, body=body)) for body in bodies)}) == 4


def test_adapters_of_other_projects_do_not_change_the_catalog_version():
    catalog = Catalog([model("small")])
    before = CatalogVersions(catalog).of(OURS)
    catalog.replace_adapters([adapter("x1", "small", THEIRS)])
    versions = CatalogVersions(catalog)
    assert versions.of(OURS) == before == catalog_version([model("small")])
    assert versions.of(THEIRS) != before
    catalog.replace_adapters([adapter("x1", "small", THEIRS), adapter("s1", "small")])
    assert len({before, CatalogVersions(catalog).of(OURS), CatalogVersions(catalog).of(THEIRS)}) == 3
