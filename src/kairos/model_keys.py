"""Check the API keys of models, which are read from the environment variables that their entries name."""

from __future__ import annotations

from pathlib import Path

from kairos import config_faults, environment
from kairos.config import InvalidConfig, Settings, config_path, read_text
from kairos.errors import did_you_mean
from kairos.model_address import Unusable, clean_key


def require_variables(settings: Settings, path: Path | None = None) -> None:
    """Check that every `api_key_env` variable is set and valid. Only a daemon needs the keys; other commands do not.

    Raises `InvalidConfig` with the file and the line.
    """
    file = config_path(path)
    text = read_text(file) if file.exists() else ""
    for number, model in enumerate(settings.models):
        name = model.api_key_env
        source = f"{file}{config_faults.line(text, ('models', number, 'api_key_env'))}"
        value = environment.value(name) if name else None
        if name and value is None:
            raise InvalidConfig(
                source=source,
                problem=f"the environment variable {name} for the key of the model {model.name!r} is not set",
                remedy=did_you_mean(name, environment.names(), 0.8) or "Set it, or remove the model from the file",
            )
        if name and value is not None:
            usable_key(name, value, model.name, source)


def usable_key(variable: str, value: str, model: str, source: str) -> str:
    """The cleaned key from an environment variable. Raises `InvalidConfig`, whose message never contains the key."""
    try:
        return clean_key(value)
    except Unusable as fault:
        raise InvalidConfig(
            source=source,
            problem=f"the key of the model {model!r} in the environment variable {variable} cannot be used: {fault}",
            remedy=f"Correct the value of {variable}",
        ) from None
