"""The configuration of a plugin: defaults, precedence, errors and hidden secrets."""

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


def test_project_values_override_system_values():
    assert merged(SCHEMA, {"units": "f", "key": "k"}, {"units": "c"}) == {
        "units": "c",
        "key": "k",
        "server": {"port": 80},
    }


async def test_errors_have_their_place():
    assert await config_faults(SCHEMA, {"units": "c"}) == []
    [one, two] = await config_faults(SCHEMA, {"units": "k", "nonsense": 1})
    assert "$.units" in one + two
    assert "nonsense" in one + two


async def test_without_a_schema_everything_is_accepted():
    assert await config_faults({}, {"anything": [1]}) == []
    assert merged({}, {"a": 1}, {"b": 2}) == {"a": 1}, "a project cannot set anything without a schema"


def test_secrets_and_objects_that_contain_secrets_are_hidden():
    assert secrets(SCHEMA) == {"key", "server"}
    assert shown(SCHEMA, {"units": "c", "key": "k", "server": {"password": "p"}}) == {
        "units": "c",
        "key": HIDDEN,
        "server": HIDDEN,
    }


async def test_error_about_a_secret_does_not_reveal_it():
    """Every member of a project sees a plugin's errors, and messages of the validator contain the value."""
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


def test_project_value_is_ignored_if_the_schema_no_longer_permits_it():
    assert merged(of(url={"type": "string"}, n={"type": "integer", **PROJECT}), {"url": "a"}, {"url": "b", "n": 2}) == {
        "url": "a",
        "n": 2,
    }


@pytest.mark.parametrize(
    ("schema", "message"),
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
def test_schema_that_lets_projects_redirect_a_secret_is_refused(schema: dict[str, Any], message: str):
    assert message in (schema_fault(schema) or "")


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
def test_schema_that_limits_projects_to_given_values_is_accepted(schema: dict[str, Any]):
    assert schema_fault(schema) is None


def test_project_with_its_own_text_reaches_public_and_operator_servers():
    schema = of(url=URL, base={"type": "string"}, other={"type": "string", "default": "https://fixed.test/a"})
    policy = AddressPolicy(schema, {"base": "http://inside.test:8080/x"}, {"url": "http://mine.test/"})
    assert not policy.public_only("http://inside.test:8080/y")
    assert not policy.public_only("https://FIXED.test:443/b")
    for url in ("http://mine.test/", "http://inside.test/", "https://inside.test:8080/", "http://[bad", "nothing"):
        assert policy.public_only(url)


def test_project_cannot_reach_the_operators_server_by_setting_its_address():
    schema = of(url=URL, base={"type": "string"})
    policy = AddressPolicy(schema, {"base": "http://inside.test/x"}, {"url": "http://inside.test/admin"})
    assert policy.public_only("http://inside.test/admin")


def test_project_without_its_own_text_is_not_restricted():
    schema = of(units={"enum": ["c", "f"], **PROJECT}, url=URL)
    assert not AddressPolicy(schema, {}, {"units": "c"}).public_only("http://127.0.0.1/")
    assert not AddressPolicy(schema, {}, {}).public_only("http://127.0.0.1/")
    assert not AddressPolicy(of(url={"type": "string"}), {}, {"url": "http://x.test"}).public_only("http://127.0.0.1/")


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "http://localhost:80", "https://2130706433/", "http://[::1]/",
                                 "http://169.254.169.254/latest", "http://x.localhost/"])  # fmt: skip
def test_private_address_is_refused_when_it_is_set(url: str):
    assert private_address({"url": url}, ()) is not None
    assert private_address({"deep": [{"url": url}]}, ()) is not None


def test_other_texts_and_addresses_allowed_by_the_operator_are_accepted():
    assert private_address({"url": "https://api.example.com/v1", "text": "a: b", "n": 1}, ()) is None
    assert private_address({"url": "http://10.0.0.5/"}, ("10.0.0.0/8",)) is None
