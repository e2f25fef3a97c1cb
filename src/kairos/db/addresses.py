"""The addresses of PostgreSQL for the three roles."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DatabaseAddresses:
    """SQLAlchemy URLs (`postgresql+psycopg://…`) of one database, one for each role."""

    app: str
    """Used for everything except the two below; subject to row-level security."""
    owner: str
    """Owns the tables; used for migrations only."""
    system: str
    """May only call the functions for sweeps, partitions and schedules."""
