"""A plugin's configuration: defaults, what overrides what, what is wrong, and what is never shown."""

from __future__ import annotations

from typing import Any

import pytest

from kairos.plugins.plugin_config import HIDDEN, config_faults, merged, schema_fault, secrets, shown
from kairos.plugins.plugin_reach import AddressPolicy, private_address

SCHEMA = {
    "type": "object",
    "properties": {
        "units": {"enum": ["c", "f"], "default": "c", "x-kairos-scope": "project"},
        "key": {"type": "string", "writeOnly": True},
        "server": {
            "type": "object",
            "default": {},
            "properties": {"port": {"type": "integer", "default": 80}, "password": {"writeOnly": True}},
        },
    },
    "required": ["units"],
    "additionalProperties": False,
}


def test_defaults_are_filled_in_at_every_depth():
    assert merged(SCHEMA, {}, {}) == {"units": "c", "server": {"port": 80}}


def test_the_projects_values_stand_in_place_of_the_systems():
    assert merged(SCHEMA, {"units": "f", "key": "k"}, {"units": "c"}) == {
        "units": "c",
        "key": "k",
        "server": {"port": 80},
    }


async def test_what_is_wrong_is_named_with_its_place():
    assert await config_faults(SCHEMA, {"units": "c"}) == []
    [one, two] = await config_faults(SCHEMA, {"units": "k", "nonsense": 1})
    assert "$.units" in one + two
    assert "nonsense" in one + two


async def test_no_schema_takes_everything():
    assert await config_faults({}, {"anything": [1]}) == []
    assert merged({}, {"a": 1}, {"b": 2}) == {"a": 1}, "and gives a project nothing to set"


def test_secrets_are_hidden_and_so_is_what_holds_one():
    assert secrets(SCHEMA) == {"key", "server"}
    assert shown(SCHEMA, {"units": "c", "key": "k", "server": {"password": "p"}}) == {
        "units": "c",
        "key": HIDDEN,
        "server": HIDDEN,
    }


async def test_what_is_wrong_with_a_secret_does_not_tell_it():
    """Every member of a project sees a plugin's error; a validator's words repeat the value."""
    strict = {**SCHEMA, "properties": {**SCHEMA["properties"], "key": {"pattern": "^pk-", "writeOnly": True}}}
    faults = await config_faults(strict, {"units": "k", "key": "sk-very-secret"})
    assert len(faults) == 2
    assert any("$.units" in fault for fault in faults)
    assert not any("sk-" in fault or "secret" in fault.replace("contain a secret", "") for fault in faults)
    whole = {**strict, "not": {"required": ["key"]}}
    assert "very" not in "".join(await config_faults(whole, {"units": "c", "key": "x" * 400 + "very-secret"}))


def of(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


PROJECT = {"x-kairos-scope": "project"}
URL: dict[str, Any] = {"type": "string", **PROJECT}
SECRET: dict[str, Any] = {"type": "string", "writeOnly": True}


def test_what_a_project_set_before_a_schema_took_it_away_is_not_used():
    assert merged(of(url={"type": "string"}, n={"type": "integer", **PROJECT}), {"url": "a"}, {"url": "b", "n": 2}) == {
        "url": "a",
        "n": 2,
    }


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        (of(url=URL, key=SECRET), "properties.url"),
        (of(url=URL, server=of(password=SECRET)), "properties.url"),
        (of(url=URL, token={"type": "string"}), "properties.url"),
        (of(url=URL, apiKey={"type": "string"}), "properties.url"),
        (of(any={**PROJECT}, key=SECRET), "properties.any"),
        (of(any={"type": ["integer", "string"], **PROJECT}, key=SECRET), "properties.any"),
        ({**of(any={"$ref": "#/$defs/x", **PROJECT}, key=SECRET), "$defs": {"x": {}}}, "properties.any"),
        (of(list={"type": "array", "items": {"type": "string"}, **PROJECT}, key=SECRET), "properties.list"),
        ({**of(url=URL), "$defs": {"x": SECRET}, "allOf": [{"properties": {"k": SECRET}}]}, "properties.url"),
        (of(key={**SECRET, **PROJECT}), "cannot be set by projects"),
        (of(n={"type": "integer", "x-kairos-scope": "projects"}), "neither 'project' nor 'operator'"),
    ],
)
def test_a_schema_that_would_let_a_project_lead_a_secret_away_is_refused(schema: dict[str, Any], words: str):
    assert words in (schema_fault(schema) or "")


@pytest.mark.parametrize(
    "schema",
    [
        of(url=URL),
        of(url={"type": "string", "x-kairos-scope": "operator"}, key=SECRET),
        of(units={"enum": ["c", "f"], **PROJECT}, n={"type": "number", **PROJECT}, key=SECRET),
        of(on={"type": ["boolean", "null"], **PROJECT}, token=SECRET),
        SCHEMA,
    ],
)
def test_a_schema_that_lets_a_project_choose_among_what_its_author_wrote_is_taken(schema: dict[str, Any]):
    assert schema_fault(schema) is None


def test_a_project_with_a_text_of_its_own_reaches_public_servers_and_the_operators():
    schema = of(url=URL, base={"type": "string"}, other={"type": "string", "default": "https://fixed.test/a"})
    reach = AddressPolicy(schema, {"base": "http://inside.test:8080/x"}, {"url": "http://mine.test/"})
    assert not reach.public_only("http://inside.test:8080/y")
    assert not reach.public_only("https://FIXED.test:443/b")
    for url in ("http://mine.test/", "http://inside.test/", "https://inside.test:8080/", "http://[bad", "nothing"):
        assert reach.public_only(url)


def test_a_project_cannot_borrow_the_operators_server_by_naming_it():
    schema = of(url=URL, base={"type": "string"})
    reach = AddressPolicy(schema, {"base": "http://inside.test/x"}, {"url": "http://inside.test/admin"})
    assert reach.public_only("http://inside.test/admin")


def test_a_project_without_a_text_of_its_own_is_bound_to_nothing():
    schema = of(units={"enum": ["c", "f"], **PROJECT}, url=URL)
    assert not AddressPolicy(schema, {}, {"units": "c"}).public_only("http://127.0.0.1/")
    assert not AddressPolicy(schema, {}, {}).public_only("http://127.0.0.1/")
    assert not AddressPolicy(of(url={"type": "string"}), {}, {"url": "http://x.test"}).public_only("http://127.0.0.1/")


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "http://localhost:80", "https://2130706433/", "http://[::1]/",
                                 "http://169.254.169.254/latest", "http://x.localhost/"])  # fmt: skip
def test_an_address_that_is_plainly_private_is_named_when_it_is_set(url: str):
    assert private_address({"url": url}, ()) is not None
    assert private_address({"deep": [{"url": url}]}, ()) is not None


def test_other_texts_and_what_an_operator_allows_are_taken():
    assert private_address({"url": "https://api.example.com/v1", "text": "a: b", "n": 1}, ()) is None
    assert private_address({"url": "http://10.0.0.5/"}, ("10.0.0.0/8",)) is None
