"""Names in Ollama: of adapters, of a project's alias, and of the runner of a base."""

from __future__ import annotations

import hashlib
import re

from kairos.fine_tuning.adapters.ollama_calls import address_of, full_name
from kairos.fine_tuning.adapters.serving import ServedAdapter, project_suffix
from kairos.http import plain_address
from kairos.llm.catalog.catalog import Model
from kairos.tenancy import ProjectId

_SAFE = re.compile(r"[a-z0-9_][a-z0-9._-]{0,59}")
"""A valid model name in Ollama (maximum length 80), in lower case."""
_HASHED = re.compile(r"-[0-9a-f]{8}$")


def runner_of(base: Model) -> str:
    """Return the runner shared by a base and its adapters. Ollama keeps one of them loaded; each switch reloads."""
    return f"ollama:{plain_address(address_of(base))}:{full_name(base.upstream)}"


def adapter_name(adapter: ServedAdapter) -> str:
    """Return the unique name of an adapter in Ollama, such as `kairos-0a1b2c3d/smol:v3`."""
    return f"{_home(adapter.project_id, adapter.base)}:v{adapter.version}"


def alias_name(project_id: ProjectId, base: Model) -> str:
    """Return the name under which other tools call the project's promoted adapter of this base."""
    return f"{_home(project_id, base)}:live"


def _home(project_id: ProjectId, base: Model) -> str:
    return f"kairos-{project_suffix(project_id)}/{safe_name(base.name)}"


def safe_name(name: str) -> str:
    """Return a valid name for Ollama. A changed name, or one that looks changed, gets a hash of the original."""
    if _SAFE.fullmatch(name) and not _HASHED.search(name):
        return name
    plain = re.sub(r"[^a-z0-9._-]+", "-", name.lower())[:60].strip("-.") or "base"
    return f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
