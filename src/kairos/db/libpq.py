"""Makes PostgreSQL sessions independent of the environment: only the address and Kairos' settings apply."""

from __future__ import annotations

import os

VARIABLES = frozenset(
    {
        "PGAPPNAME",
        "PGCHANNELBINDING",
        "PGCLIENTENCODING",
        "PGCONNECT_TIMEOUT",
        "PGDATABASE",
        "PGDATESTYLE",
        "PGGEQO",
        "PGGSSDELEGATION",
        "PGGSSENCMODE",
        "PGGSSLIB",
        "PGHOST",
        "PGHOSTADDR",
        "PGKRBSRVNAME",
        "PGLOADBALANCEHOSTS",
        "PGLOCALEDIR",
        "PGMAXPROTOCOLVERSION",
        "PGMINPROTOCOLVERSION",
        "PGOAUTHDEBUG",
        "PGOPTIONS",
        "PGPASSFILE",
        "PGPASSWORD",
        "PGPORT",
        "PGREALM",
        "PGREQUIREAUTH",
        "PGREQUIREPEER",
        "PGREQUIRESSL",
        "PGSERVICE",
        "PGSERVICEFILE",
        "PGSSLCERT",
        "PGSSLCERTMODE",
        "PGSSLCOMPRESSION",
        "PGSSLCRL",
        "PGSSLCRLDIR",
        "PGSSLKEY",
        "PGSSLKEYLOGFILE",
        "PGSSLMAXPROTOCOLVERSION",
        "PGSSLMINPROTOCOLVERSION",
        "PGSSLMODE",
        "PGSSLNEGOTIATION",
        "PGSSLROOTCERT",
        "PGSSLSNI",
        "PGSYSCONFDIR",
        "PGTARGETSESSIONATTRS",
        "PGTTY",
        "PGTZ",
        "PGUSER",
    }
)
"""The environment variables that libpq reads (PostgreSQL 18, 32.15). Some of them, such as PGSERVICE, cannot be
overridden by connection parameters."""

SETTINGS = {
    "client_encoding": "UTF8",
    "timezone": "UTC",
    "datestyle": "ISO,MDY",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "standard_conforming_strings": "on",
    "default_transaction_isolation": "read\\ committed",
    "default_transaction_read_only": "off",
    "row_security": "on",
}
"""Settings that the code relies on; a database or a role may have other defaults."""


def clear_environment() -> None:
    """Remove libpq's variables from the environment of this process and its children."""
    for name in VARIABLES:
        os.environ.pop(name, None)


def session_options(given: str = "", **more: str) -> str:
    """The connection parameter `options`: those of the address, then Kairos' settings, which take precedence."""
    settings = " ".join(f"-c {name}={value}" for name, value in {**SETTINGS, **more}.items())
    return f"{given} {settings}".strip()
