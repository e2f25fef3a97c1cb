"""The address of Kairos that people open: in links, in Host headers and as the origin of the dashboard."""

from __future__ import annotations

from fastapi import Request

from kairos.config import Settings


def link_base(settings: Settings, bound_port: int = 0) -> str:
    """Origin with which links begin: `server.public_url`, else localhost with the configured port.

    It never comes from a Host header, which whoever sends a request may choose. `bound_port` serves where the
    configuration leaves the port to the system (`server.port` is 0).
    """
    return settings.server.public_url or f"http://localhost:{settings.server.port or bound_port}"


def link_base_for(request: Request) -> str:
    """`link_base` of the daemon that answers this request."""
    bound = request.scope.get("server")
    return link_base(request.app.state.services.settings, (bound[1] or 0) if bound else 0)
