"""A plugin's configuration: defaults, what overrides what, what is wrong, and what is never shown."""

from __future__ import annotations

from kairos.plugins.plugin_config import HIDDEN, config_faults, merged, secrets, shown

SCHEMA = {
    "type": "object",
    "properties": {
        "units": {"enum": ["c", "f"], "default": "c"},
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
    assert merged({}, {"a": 1}, {"b": 2}) == {"a": 1, "b": 2}


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
    assert not any("sk-" in fault or "secret" in fault.replace("tell a secret", "") for fault in faults)
    whole = {**strict, "not": {"required": ["key"]}}
    assert "very" not in "".join(await config_faults(whole, {"units": "c", "key": "x" * 400 + "very-secret"}))
