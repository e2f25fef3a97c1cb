"""What a person enters for a provider and its models, and the checks of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from kairos.errors import InvalidInput
from kairos.host_literals import literal
from kairos.http_tls import certificates
from kairos.llm.calls.upstream_models import dated_price
from kairos.llm.catalog.provider_kinds import KINDS, ProviderKind, is_private_host
from kairos.model_address import Unusable, clean_key, model_address
from kairos.model_names import AUTO, is_reserved
from kairos.public_addresses import is_listed
from kairos.secret_shapes import is_secret_name

HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
RESERVED_HEADERS = frozenset(
    {"authorization", "host", "content-length", "transfer-encoding", "connection", "content-type"}
)
MOST_HEADERS = 20
LONGEST_HEADER = 4096
LONGEST_KEY = 8192
ENTERED = "entered by hand"


@dataclass(frozen=True, slots=True)
class ProviderDraft:
    """A provider as entered."""

    kind: ProviderKind
    name: str = ""
    address: str | None = None
    key: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    ca: str | None = None
    local: bool | None = None


@dataclass(frozen=True, slots=True)
class PriceDraft:
    """A price as entered, in USD per million tokens."""

    input: float
    output: float
    at: date | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class ModelDraft:
    """A model as entered. Without `priced`, the price of the price list is used, if it has one."""

    upstream: str
    name: str | None = None
    context: int | None = None
    capabilities: Sequence[str] = ()
    price: PriceDraft | None = None
    priced: bool = False
    price_per_hour: float | None = None
    specialties: Sequence[str] = ()
    tier: float | None = None
    enabled: bool = True

    def values(self, kind: ProviderKind) -> dict[str, Any]:
        """The columns of the model's row without its name."""
        return {
            "upstream": plain_name(self.upstream, "upstream"),
            "context": self.context,
            "capabilities": sorted(set(self.capabilities)),
            **(price_values(self.price) if self.priced else _listed_price(kind, self.upstream)),
            "price_per_hour": self.price_per_hour,
            "specialties": list(self.specialties),
            "tier": self.tier,
            "enabled": self.enabled,
        }


def price_values(price: PriceDraft | None) -> dict[str, Any]:
    """The columns of a price; None is an unknown price."""
    if price is None:
        return {"price_input": None, "price_output": None, "price_at": None, "price_source": None}
    return {
        "price_input": price.input,
        "price_output": price.output,
        "price_at": price.at or datetime.now(UTC).date(),
        "price_source": price.source or ENTERED,
    }


def clean_address(kind: ProviderKind, address: str | None) -> str:
    """The address, or the usual one of its kind. Raises `InvalidInput`, which does not repeat it."""
    if not (address or "").strip():
        usual = KINDS[kind].address
        if usual is None:
            raise InvalidInput(
                where="address", problem=f"{KINDS[kind].title} has no usual address", remedy="Give the server's address"
            )
        return usual
    try:
        cleaned = model_address(address or "")
    except Unusable as fault:
        raise InvalidInput(where="address", problem=str(fault), remedy="Correct the address") from None
    if any(is_secret_name(name) or name.lower() == "key" for name, _ in parse_qsl(urlsplit(cleaned).query)):
        raise InvalidInput(
            where="address", problem="its query contains a key", remedy="Remove it there, and give it as `key`"
        )
    return cleaned


def clean_secret(key: str | None) -> str | None:
    """The key without surrounding white space; None for none. Raises `InvalidInput`, which does not repeat it."""
    if key is None:
        return None
    try:
        cleaned = clean_key(key)
    except Unusable as fault:
        raise InvalidInput(
            where="key", problem=f"it cannot be used: {fault}", remedy="Copy it again, without line breaks"
        ) from None
    if len(cleaned) > LONGEST_KEY:
        raise InvalidInput(where="key", problem=f"it is longer than {LONGEST_KEY} characters", remedy="Copy it again")
    return cleaned


def clean_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers. Raises `InvalidInput`, which repeats no value."""
    if len(headers) > MOST_HEADERS:
        raise InvalidInput(where="headers", problem=f"there are more than {MOST_HEADERS}", remedy="Send fewer")
    for name, value in headers.items():
        if not HEADER_NAME.fullmatch(name) or name.lower() in RESERVED_HEADERS:
            raise InvalidInput(
                where="headers", problem=f"{name[:100]!r} cannot be set", remedy="Remove it; a key belongs in `key`"
            )
        if len(value) > LONGEST_HEADER or not value.isascii() or not value.isprintable():
            raise InvalidInput(
                where=f"headers/{name}", problem="its value is not printable ASCII", remedy="Correct the value"
            )
    return dict(headers)


def clean_ca(text: str | None) -> str | None:
    """The certificates in PEM. Raises `InvalidInput`, which does not repeat the text."""
    if text is None or not text.strip():
        return None
    try:
        return certificates(text)
    except ValueError as fault:
        raise InvalidInput(where="ca", problem=str(fault), remedy="Give the authority's certificate in PEM") from None


def plain_name(name: str, where: str) -> str:
    """A name without surrounding white space. Raises `InvalidInput`."""
    cleaned = name.strip()
    if not cleaned or not cleaned.isprintable():
        raise InvalidInput(where=where, problem="it is empty or has control characters", remedy="Choose another name")
    return cleaned


def model_name(name: str) -> str:
    """The name of a model in the catalogue, without surrounding white space. Raises `InvalidInput`."""
    if is_reserved(name):
        problem = f"`{AUTO}` is reserved: it lets the router choose"
        raise InvalidInput(where="name", problem=problem, remedy="Choose another name")
    return plain_name(name, "name")


def check_project_address(address: str, allowed: Sequence[str]) -> None:
    """Raise `InvalidInput` if a project's address is visibly private. Names are resolved and checked at each call."""
    host = urlsplit(address).hostname or ""
    visible = literal(host) is not None or host == "localhost" or host.endswith(".localhost")
    if visible and is_private_host(host) and not is_listed(host, literal(host), allowed):
        raise InvalidInput(
            where="address",
            problem=f"{host} is not on the public internet",
            remedy="Use a public address, or ask an operator to list it in `providers.private_hosts`",
        )


def _listed_price(kind: ProviderKind, upstream: str) -> dict[str, Any]:
    listed = dated_price(kind, upstream)
    if listed is None:
        return price_values(None)
    return price_values(PriceDraft(listed.price.input, listed.price.output, listed.at, listed.source))
