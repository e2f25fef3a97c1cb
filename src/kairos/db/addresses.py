"""Where PostgreSQL is, once for each of the three roles."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DatabaseAddresses:
    """SQLAlchemy URLs (`postgresql+psycopg://…`) of one database, one for each role."""

    app: str
    """Bound by row-level security: everything but the two below."""
    owner: str
    """Owns the tables: migrations alone."""
    system: str
    """May call the functions of the sweep, of partitions and schedules: nothing else."""
