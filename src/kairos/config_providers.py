"""The section `[providers]`: stored providers of models and the keys that encrypt their secrets."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from kairos.config_section import Section


class ProviderSettings(Section):
    """Providers and models that are stored in the database."""

    only_in_file: ClassVar[frozenset[str]] = frozenset({"master_key_file"})
    master_key_file: Path | None = Field(
        default=None,
        description="File with the master keys that encrypt stored provider keys, such as a mounted Kubernetes secret; "
        "relative to the configuration file. KAIROS_MASTER_KEY takes precedence; without both, Kairos keeps them in "
        "data_dir/master-keys.",
    )
    private_hosts: list[str] = Field(
        default=[],
        description="Names, addresses and networks (10.0.0.0/8) outside the public internet that projects' own "
        "providers may use. Every project can reach them. Operators' providers may use any address.",
    )
