"""Logging: one line an event, with a time, on standard error."""

from __future__ import annotations

import logging


def configure(level: str) -> None:
    """Set up the root logger; libraries speak only from warnings on."""
    logging.basicConfig(
        level=level.upper(), format="%(asctime)s %(levelname)-7s %(name)s: %(message)s", datefmt="%H:%M:%S", force=True
    )
    for chatty in ("uvicorn.access", "uvicorn.error", "asyncio", "aiohttp", "sqlalchemy", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def set_level(level: str) -> None:
    """Log from this level on, from now on."""
    logging.getLogger().setLevel(level.upper())
