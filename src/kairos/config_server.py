"""The section `[server]`: where the API listens, and which addresses and connections it accepts."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from kairos.config_section import Reach, Section

DEFAULT_PORTS = {"http": 80, "https": 443}
HOST = re.compile(r"[a-z0-9._:-]{1,253}")


def _origin(value: str | None) -> str | None:
    """An http or https origin in the form that browsers send: lower case, no default port, no path.

    An empty text is none: compose files pass unset variables like that.
    """
    if not value:
        return None
    try:
        parts = urlsplit(value.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    rest = parts.path.strip("/") or parts.query or parts.fragment or parts.username is not None
    if parts.scheme not in DEFAULT_PORTS or not host or rest or not HOST.fullmatch(host):
        raise ValueError("give an address like https://kairos.example.org: scheme, host and port, without a path")
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + ("" if port in (None, DEFAULT_PORTS[parts.scheme]) else f":{port}")


PublicUrl = Annotated[str | None, AfterValidator(_origin)]


class ServerSettings(Section):
    """Where the API listens."""

    reach: ClassVar[Reach] = Reach.FILE
    host: str = Field(default="127.0.0.1", description="Address the API listens on.")
    port: int = Field(default=8484, ge=0, le=65535, description="Port the API listens on; 0 takes a free one.")
    public_url: PublicUrl = Field(
        default=None, description="Address that people open, like https://kairos.example.org; links begin with it."
    )
    body_limit_bytes: int = Field(default=2 * 1024 * 1024, ge=1024, description="Largest request body that is read.")
