"""Embedded engines: PostgreSQL, Valkey and a small model, from wheels, as child processes of the daemon."""

from kairos.embedded.engine import EngineNotInstalled, EngineNotStarted, EngineState
from kairos.embedded.folder import DataFolder, DataFolderInUse, Secrets
from kairos.embedded.folder_rights import DataFolderUnusable
from kairos.embedded.model import WeightsCorrupt, WeightsMissing, check_weights
from kairos.embedded.supervisor import Addresses, EmbeddedEngines

__all__ = [
    "Addresses",
    "DataFolder",
    "DataFolderInUse",
    "DataFolderUnusable",
    "EmbeddedEngines",
    "EngineNotInstalled",
    "EngineNotStarted",
    "EngineState",
    "Secrets",
    "WeightsCorrupt",
    "WeightsMissing",
    "check_weights",
]
