"""The kinds of providers that can be stored, with their usual addresses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from urllib.parse import urlsplit

from kairos.public_addresses import is_public

PRIVATE_ENDS = (".local", ".localhost", ".internal", ".lan", ".home", ".home.arpa", ".cluster.local", ".svc")


class ProviderKind(StrEnum):
    """The kind of a provider; also its name in the price list."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    GOOGLE = "google"
    MISTRAL = "mistral"
    OPENROUTER = "openrouter"
    AZURE = "azure"
    OLLAMA = "ollama"
    VLLM = "vllm"
    LLAMACPP = "llamacpp"
    LMSTUDIO = "lmstudio"
    OPENAI_COMPATIBLE = "openai-compatible"


@dataclass(frozen=True, slots=True)
class KindFacts:
    """What is known of a kind."""

    title: str
    address: str | None
    """The usual address; None if each account or server has its own."""
    local: bool
    """Whether its servers usually run on the operator's hardware."""
    needs_key: bool
    protocol: str
    """The protocol of its own API."""


KINDS: Mapping[ProviderKind, KindFacts] = {
    ProviderKind.OPENAI: KindFacts("OpenAI", "https://api.openai.com/v1", False, True, "openai"),
    ProviderKind.ANTHROPIC: KindFacts("Anthropic", "https://api.anthropic.com/v1", False, True, "anthropic"),
    ProviderKind.GOOGLE: KindFacts(
        "Google", "https://generativelanguage.googleapis.com/v1beta/openai", False, True, "openai"
    ),
    ProviderKind.MISTRAL: KindFacts("Mistral", "https://api.mistral.ai/v1", False, True, "openai"),
    ProviderKind.OPENROUTER: KindFacts("OpenRouter", "https://openrouter.ai/api/v1", False, True, "openai"),
    ProviderKind.AZURE: KindFacts("Azure OpenAI", None, False, True, "openai"),
    ProviderKind.OLLAMA: KindFacts("Ollama", "http://127.0.0.1:11434/v1", True, False, "ollama"),
    ProviderKind.VLLM: KindFacts("vLLM", "http://127.0.0.1:8000/v1", True, False, "openai"),
    ProviderKind.LLAMACPP: KindFacts("llama.cpp", "http://127.0.0.1:8080/v1", True, False, "openai"),
    ProviderKind.LMSTUDIO: KindFacts("LM Studio", "http://127.0.0.1:1234/v1", True, False, "openai"),
    ProviderKind.OPENAI_COMPATIBLE: KindFacts("OpenAI-compatible server", None, False, False, "openai"),
}


def local_by_default(kind: ProviderKind, address: str) -> bool:
    """Whether prompts to a server probably stay on the operator's hardware: a local kind at a private address.

    A name that may belong to another network counts as remote, because a prompt that must stay would leave.
    """
    return KINDS[kind].local and is_private_host(urlsplit(address).hostname or "")


def is_private_host(host: str) -> bool:
    """Whether a host is a private address, or a name that only a private network has."""
    try:
        return not is_public(ip_address(host))
    except ValueError:
        name = host.lower().rstrip(".")
        return "." not in name or name.endswith(PRIVATE_ENDS)
