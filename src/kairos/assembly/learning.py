"""Build the components that train, evaluate, store and deploy adapters."""

from __future__ import annotations

from dataclasses import dataclass

from kairos.assembly.llm import Llm
from kairos.assembly.storage import DataStores
from kairos.config import Settings
from kairos.embedded import EmbeddedEngines
from kairos.fine_tuning.adapters.adapters import AdapterFiles
from kairos.fine_tuning.adapters.deployments import AdapterDeployments
from kairos.fine_tuning.adapters.llama_cpp import EmbeddedAdapters, OneOffModels
from kairos.fine_tuning.adapters.llama_server import LlamaServerAdapters
from kairos.fine_tuning.adapters.ollama import OllamaAdapters
from kairos.fine_tuning.adapters.serving import AdapterServer
from kairos.fine_tuning.adapters.vllm import VllmAdapters
from kairos.fine_tuning.gate.gate import Gate
from kairos.fine_tuning.gate.promotion import Promotions
from kairos.fine_tuning.training.trainer import Trainer
from kairos.fine_tuning.tries.selection import CandidateSelection
from kairos.http import HttpClient
from kairos.llm.catalog.catalog import AdapterHost


@dataclass(frozen=True, slots=True)
class Learning:
    """The components that train, store and deploy adapters."""

    trainer: Trainer
    one_off: OneOffModels
    selection: CandidateSelection
    gate: Gate
    files: AdapterFiles
    deployments: AdapterDeployments
    promotions: Promotions


def build_learning(settings: Settings, storage: DataStores, llm: Llm, engines: EmbeddedEngines | None) -> Learning:
    database, chosen = storage.database, settings.fine_tuning
    folder = chosen.folder or settings.data_dir / "models"
    files = AdapterFiles(folder, chosen.quota_mb * 2**20)
    one_off = OneOffModels(settings.data_dir)
    deployments = AdapterDeployments(
        database,
        storage.pubsub,
        llm.router,
        files,
        _adapter_servers(llm.http, engines),
        chosen,
        one_off,
    )
    promotions = Promotions(database, deployments, files, llm.router.cache, chosen)
    selection = CandidateSelection(llm.providers, one_off, folder, chosen)
    gate = Gate(llm.providers, chosen, folder)
    return Learning(Trainer(chosen, folder), one_off, selection, gate, files, deployments, promotions)


def _adapter_servers(http: HttpClient, engines: EmbeddedEngines | None) -> dict[AdapterHost | None, AdapterServer]:
    servers: dict[AdapterHost | None, AdapterServer] = {
        AdapterHost.OLLAMA: OllamaAdapters(http),
        AdapterHost.VLLM: VllmAdapters(http),
        AdapterHost.LLAMACPP: LlamaServerAdapters(http),
    }
    if engines:
        servers[AdapterHost.EMBEDDED] = EmbeddedAdapters(engines)
    return servers
