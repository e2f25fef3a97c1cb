"""Load one typed `Settings` object from `kairos.toml` and the environment. Unknown keys are refused.

The environment takes precedence over the file: `KAIROS_SERVER__PORT=9000` sets `port` under `[server]`.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from kairos import config_faults
from kairos.config_faults import NESTED, PREFIX
from kairos.config_models import ModelSettings
from kairos.config_models import PriceSettings as PriceSettings
from kairos.config_providers import ProviderSettings
from kairos.config_section import MOST_BYTES, MOST_MB, MOST_ROWS, Seconds, Section, Share
from kairos.config_section import ApplyMode as ApplyMode
from kairos.config_server import ServerSettings
from kairos.errors import KairosError, did_you_mean
from kairos.text import storable_json
from kairos.text_files import NotUtf8, decode_text


class InvalidConfig(KairosError):
    """{source}: {problem}. {remedy}"""

    status, code, exit_code = 500, "invalid_config", 2


SectionT = TypeVar("SectionT", bound=BaseModel)
Count = Annotated[int, Field(ge=1, le=100_000)]


class DatabaseSettings(Section):
    """PostgreSQL 15 or newer. Without an address the embedded server is started."""

    reach: ClassVar[ApplyMode] = ApplyMode.FILE
    url: SecretStr | None = Field(
        default=None, description="Address for the app role, which is subject to row-level security."
    )
    migration_url: SecretStr | None = Field(
        default=None, description="Address for the owner role, used for migrations only."
    )
    system_url: SecretStr | None = Field(
        default=None, description="Address for the system role: sweeper, partitions, schedules."
    )
    pool_size: int = Field(
        default=8, ge=2, le=200, description="Connections of each daemon to PostgreSQL for the app role."
    )
    statement_timeout_s: float = Field(
        default=30, ge=0.1, le=86_400, description="Longest time one statement may take."
    )


class RedisSettings(Section):
    """Redis 6.2 or newer, or Valkey. Without an address the embedded server is started."""

    reach: ClassVar[ApplyMode] = ApplyMode.FILE
    url: SecretStr | None = Field(default=None, description="Address: redis://:password@host:port/0.")


class EmbeddedSettings(Section):
    """Engines that `kairos start` runs itself if no address is configured."""

    reach: ClassVar[ApplyMode] = ApplyMode.FILE
    model: bool = Field(default=True, description="Start the small embedded model.")


class QueueSettings(Section):
    """Leases, retries and slots of tasks."""

    restart: ClassVar[frozenset[str]] = frozenset({"lease_s", "sweep_s"})
    lease_s: Seconds = Field(
        default=30, description="Time without a renewal after which a worker loses its task to another."
    )
    sweep_s: Seconds = Field(default=5, description="Time between two runs of the sweeper.")
    drain_s: Seconds = Field(default=30, description="Longest time that running tasks may continue after SIGTERM.")
    max_attempts: int = Field(
        default=3, ge=1, le=100, description="Claims of one task before it goes to the dead letters."
    )
    retry_base_s: Seconds = Field(
        default=2, description="Wait before the second attempt; doubles with each further attempt, with jitter."
    )
    retry_max_s: Seconds = Field(default=300, description="Longest wait between two attempts.")
    interactive_slots: int = Field(default=2, ge=1, le=1000, description="Slots that only interactive tasks use.")
    task_timeout_s: Seconds = Field(
        default=900, description="Longest time of one attempt, unless the task sets its own."
    )
    project_cap: int | None = Field(
        default=None, ge=1, le=MOST_ROWS, description="Running tasks of one project in a lane, over all daemons."
    )


class AuthSettings(Section):
    """Sign-in and tokens."""

    access_minutes: Annotated[int, Field(ge=1, le=1440)] = Field(default=10, description="Lifetime of an access token.")
    refresh_days: Annotated[int, Field(ge=1, le=365)] = Field(
        default=30, description="Lifetime of an unused refresh token."
    )
    sessions_per_user: Count = Field(default=100, description="Active sessions of one user; a new one ends the oldest.")
    sockets_per_user: Count = Field(default=50, description="WebSockets of one user per daemon.")
    projects_per_user: Count = Field(default=200, description="Projects that one user may own.")
    keys_per_project: Count = Field(default=200, description="API keys of one project, revoked ones not counted.")
    invitations_per_project: Count = Field(default=200, description="Open invitations of one project.")


class GuardianSettings(Section):
    """Checks of drafts."""

    only_in_file: ClassVar[frozenset[str]] = frozenset({"allow_weak_isolation"})
    tries: int = Field(
        default=2, ge=1, le=5, description="Drafts an agent may make in one attempt before a rejection is final."
    )
    test_seconds: Seconds = Field(default=10, description="Wall time for the tests supplied with a task.")
    test_memory_mb: int = Field(
        default=512,
        ge=64,
        le=MOST_MB,
        description="Memory for the tests supplied with a task, all their processes together.",
    )
    allow_weak_isolation: bool = Field(
        default=False,
        description="Run tests on hosts that cannot isolate code. RISK: anyone who submits a task can then read the"
        " daemon's files and secrets, use its network, and become operator (docs/isolation.md).",
    )


class CacheSection(Section):
    """The response cache."""

    ttl_s: float = Field(default=86_400, ge=0.01, le=366 * 86_400, description="Lifetime of a cached answer.")
    project_bytes: int = Field(
        default=32 * 1024 * 1024, ge=0, le=MOST_BYTES, description="Cached bytes of one project in Redis."
    )
    total_bytes: int = Field(
        default=256 * 1024 * 1024, ge=0, le=MOST_BYTES, description="Cached bytes of all projects together."
    )


class JudgeSettings(Section):
    """A model that grades answers which no check could measure."""

    model: str = Field(default="", description="Catalogue name of the model that judges; empty turns the judge off.")
    share: Share = Field(default=0.2, description="Share of the otherwise unmeasured answers that are judged.")
    rubrics: dict[str, str] = Field(
        default={}, description="Description of a good answer, by task type; other types use a general rubric."
    )
    timeout_s: Seconds = Field(default=60, description="Longest time for judging one answer.")


class RouterSettings(Section):
    """Weights and intervals of the router."""

    lambda_cost: float = Field(default=0.15, ge=0, le=2, description="Weight of cost against quality.")
    lambda_latency: float = Field(default=0.10, ge=0, le=2, description="Weight of latency against quality.")
    latency_target_s: Seconds = Field(
        default=8, description="Answer time at which the penalty reaches 63 % of its maximum."
    )
    last_resort: str = Field(default="", description="Model to call when all circuit breakers are open.")
    flush_s: Seconds = Field(
        default=2, description="Time between two writes of routing statistics, once a model is well known."
    )
    poll_s: Seconds = Field(
        default=5, description="Time between two reads of other daemons' routing statistics if no notice arrives."
    )
    metrics_months: int = Field(
        default=13, ge=1, le=1200, description="Whole months for which metrics of single calls are kept."
    )


class RetentionSettings(Section):
    """Automatic removal of old data."""

    audit_days: int = Field(default=365, ge=1, le=36500, description="Days for which audit log entries are kept.")


class FineTuningSettings(Section):
    """Training, evaluation, storage and deployment of adapters."""

    restart: ClassVar[frozenset[str]] = frozenset({"folder", "quota_mb"})
    folder: Path | None = Field(
        default=None,
        description="Folder of adapters and runs, shared by all replicas; by default `models` in data_dir.",
    )
    fewest_rows: int = Field(
        default=8, ge=1, le=MOST_ROWS, description="Fewest approved training samples with which a run starts."
    )
    held_out_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.2, description="Share of the approved samples that is held out of training to evaluate the adapter."
    )
    replay_share: Annotated[float, Field(ge=0, le=0.9)] = Field(
        default=0.5, description="Share of the examples that are control prompts answered by the base model itself."
    )
    epochs: Annotated[float, Field(ge=0.01, le=100)] = Field(default=4, description="Passes over the examples.")
    threads: int = Field(default=0, ge=0, le=1024, description="Threads of a training on a CPU; 0 lets PyTorch choose.")
    tries: int = Field(
        default=3,
        ge=1,
        le=10,
        description="Most trainings of one run, which changes its recipe if an adapter learned too little or forgot.",
    )
    timeout_s: Seconds = Field(default=21_600, description="Longest time of training and gate together.")
    control_prompts: int = Field(
        default=500,
        ge=8,
        le=500,
        description="Most control prompts that the gate uses; it stops earlier once the result is clear.",
    )
    held_out_prompts: int = Field(default=100, ge=8, le=1000, description="Most held-out samples that the gate uses.")
    margin: Share = Field(
        default=0.05, description="Loss on control prompts that the gate does not tolerate; smaller ones may pass."
    )
    canary_share: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.5, description="Share of the requests for which a new canary is a candidate; 1 is all."
    )
    canary_answers: int = Field(
        default=5, ge=1, le=10_000, description="Measured answers after which a canary that is not worse goes live."
    )
    quota_mb: int = Field(
        default=2048, ge=1, le=MOST_MB * 1024, description="Disk space for the adapters of one project."
    )
    trigger_rows: int = Field(
        default=0,
        ge=0,
        le=MOST_ROWS,
        description="Number of new approved samples that starts a run automatically; 0 is never.",
    )
    trigger_hours: Annotated[float, Field(ge=0, le=87_600)] = Field(
        default=0, description="Hours after which new approved samples start a run automatically; 0 is never."
    )
    trigger_base: str = Field(
        default="", description="Base model of automatic runs; empty is the first that can be trained."
    )


class PluginSettings(Section):
    """Plugins: code that an operator installs in a folder or as packages."""

    only_in_file: ClassVar[frozenset[str]] = frozenset({"folder"})
    folder: Path = Field(
        default=Path("plugins"), description="Folder of plugin files and packages; relative to the configuration file."
    )
    probe_s: Seconds = Field(default=5, description="Longest time for a plugin's import.")
    memory_mb: int = Field(
        default=1024, ge=64, le=MOST_MB, description="Memory of a process that imports a plugin or runs its task."
    )
    cpu_s: Annotated[float, Field(ge=0.01, le=86_400)] = Field(
        default=60, description="CPU time of such a process; waiting does not count."
    )
    private_hosts: list[str] = Field(
        default=[],
        description="Names, addresses and networks (10.0.0.0/8) outside the public internet that plugins may call if a "
        "project's settings name them. Every project can reach them.",
    )
    settings: dict[str, dict[str, Any]] = Field(
        default={}, description="Configuration of plugins, by name; each has its own schema."
    )
    reloads: int = Field(
        default=0,
        ge=0,
        le=2**53,
        description="Incremented by `kairos plugin reload`; each daemon then scans for plugins again.",
    )


class Settings(BaseSettings):
    """The configuration of one daemon."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter=NESTED,
        extra="forbid",
        frozen=True,
    )
    file: ClassVar[Path | None] = None
    only_in_file: ClassVar[frozenset[str]] = frozenset({"data_dir", "models"})

    data_dir: Path = Field(
        default=Path(".kairos"), description="Folder of the embedded engines and this daemon's secrets."
    )
    max_concurrent_tasks: int = Field(
        default=4, ge=1, le=1000, description="Tasks this daemon runs at once, all lanes together."
    )
    default_llm_model: str = Field(
        default="auto", description="`auto` lets the router choose; a name sends every call to that model."
    )
    log_level: str = Field(
        default="info", pattern="^(debug|info|warning|error)$", description="Lowest level that is logged."
    )
    server: ServerSettings = ServerSettings()
    database: DatabaseSettings = DatabaseSettings()
    redis: RedisSettings = RedisSettings()
    embedded: EmbeddedSettings = EmbeddedSettings()
    queue: QueueSettings = QueueSettings()
    auth: AuthSettings = AuthSettings()
    guardian: GuardianSettings = GuardianSettings()
    judge: JudgeSettings = JudgeSettings()
    cache: CacheSection = CacheSection()
    router: RouterSettings = RouterSettings()
    retention: RetentionSettings = RetentionSettings()
    fine_tuning: FineTuningSettings = FineTuningSettings()
    plugins: PluginSettings = PluginSettings()
    providers: ProviderSettings = ProviderSettings()
    models: list[ModelSettings] = []

    @field_validator("data_dir", "max_concurrent_tasks", "default_llm_model", "log_level", mode="before")
    @classmethod
    def storable(cls, value: Any) -> Any:
        """Validate the keys outside all sections; each section validates its own."""
        return storable_json(value)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # The file's values are passed as init arguments (see `load`); the environment overrides them.
        return env_settings, init_settings


class _ArgumentSettings(Settings):
    """Settings validated from the arguments only, without the environment."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


def with_overrides(settings: Settings, overrides: Mapping[str, Any]) -> Settings:
    """The settings with these values, by dotted key. A mapping is merged into the existing one (RFC 7396).

    Raises `InvalidConfig` with the key.
    """
    values = settings.model_dump()
    for key, value in overrides.items():
        *section, name = key.split(".")
        place = values[section[0]] if section else values
        place[name] = merge_patch(place[name], value) if isinstance(value, Mapping) else value
    try:
        return _ArgumentSettings(**values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = tuple(first["loc"])
        key = next((key for key in overrides if tuple(key.split(".")) == where[: key.count(".") + 1]), "")
        raise InvalidConfig(
            source=key or ".".join(map(str, where)), problem=config_faults.problem(first), remedy="Correct the value"
        ) from None


def merge_patch(value: Any, patch: Any) -> Any:
    """The value with a JSON merge patch applied (RFC 7396): null removes a key."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(value) if isinstance(value, Mapping) else {}
    for key, change in patch.items():
        if change is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), change)
    return result


def config_path(explicit: Path | None = None) -> Path:
    """The configuration file in use: the explicit one, `KAIROS_CONFIG`, or `kairos.toml` in the working directory."""
    return explicit or Path(os.environ.get("KAIROS_CONFIG", "kairos.toml"))


def load(path: Path | None = None) -> Settings:
    """Read and validate the configuration. A file named explicitly must exist; the default one may be absent.

    Raises `InvalidConfig` with the file, the line and the nearest known key.
    """
    file = config_path(path)
    named = path is not None or "KAIROS_CONFIG" in os.environ
    if not os.path.lexists(file):
        if named:
            raise InvalidConfig(source=file, problem="no such file", remedy="Give the path of a kairos.toml")
        return _validated({}, file, "")
    text = read_text(file)
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: also an integer with more digits than Python parses
        raise InvalidConfig(source=file, problem=f"not valid TOML: {error}", remedy="Fix this line") from error
    settings = _validated(values, file, text)
    _refuse_duplicate_models(settings, file)
    return _with_absolute_folders(settings, file)


def read_text(file: Path) -> str:
    """The text of a configuration file. Raises `InvalidConfig`."""
    try:
        return decode_text(file.read_bytes())
    except NotUtf8 as error:
        raise InvalidConfig(source=file, problem=str(error), remedy="Save it as UTF-8") from None
    except (OSError, ValueError) as error:
        raise InvalidConfig(
            source=file, problem=f"cannot be read: {error}", remedy="Check its path and permissions"
        ) from error


def _with_absolute_folders(settings: Settings, file: Path) -> Settings:
    plugins = _copy_with(settings.plugins, folder=_absolute(file, settings.plugins.folder))
    keys = settings.providers.master_key_file
    providers = _copy_with(settings.providers, master_key_file=_absolute(file, keys)) if keys else settings.providers
    return _copy_with(settings, data_dir=_absolute(file, settings.data_dir), plugins=plugins, providers=providers)


def _copy_with(part: SectionT, **values: Any) -> SectionT:
    """A copy with these values, whose `model_fields_set` still contains only the keys that were set by people."""
    copy = part.model_copy(update=values)
    copy.model_fields_set.intersection_update(part.model_fields_set)
    return copy


def _absolute(file: Path, folder: Path) -> Path:
    """The absolute path of a folder; relative ones start at the configuration file, not at the working directory."""
    try:
        return (file.parent / folder.expanduser()).resolve()
    except (OSError, RuntimeError, ValueError) as error:  # unknown user, symlink loop, removed working directory
        raise InvalidConfig(
            source=file, problem=f"the folder {folder} cannot be used: {error}", remedy="Give an absolute path"
        ) from None


def _validated(values: dict[str, Any], file: Path, text: str) -> Settings:
    try:
        _check_variables()
        settings = Settings(**values)
    except SettingsError as error:
        raise _not_json(error) from None
    except ValidationError as error:
        first = config_faults.first_error(error.errors(include_url=False))
        where = tuple(part for part in first["loc"])
        missing = first["type"] == "missing"
        by = config_faults.variable_for(where[:-1] if missing else where, os.environ)
        if missing and not by and not _given(values, where):
            by = config_faults.variable(where)
        raise InvalidConfig(
            source=f"environment {by}" if by else f"{file}{config_faults.line(text, where)}",
            problem=f"{'.'.join(map(str, where))}: {config_faults.problem(first)}",
            remedy=config_faults.remedy(Settings, where, first["type"]),
        ) from None
    return settings if text else _with_absolute_folders(settings, file)


def _check_variables() -> None:
    """Raise `InvalidConfig` for a variable that would have no effect."""
    if (name := config_faults.unknown_variable(os.environ, Settings.model_fields)) is not None:
        section = config_faults.section_of(name)
        remedy = did_you_mean(section, Settings.model_fields) or "docs/configuration.md lists every key"
        raise InvalidConfig(source=f"environment {name}", problem=f"there is no section {section!r}", remedy=remedy)


def _not_json(error: SettingsError) -> InvalidConfig:
    """The error for a variable that sets a whole section or list and is not valid JSON."""
    return InvalidConfig(
        source=f"environment {config_faults.invalid_variable(str(error), os.environ)}",
        problem="its value is not valid JSON, which is required for a section or a list",
        remedy=f"Set single keys, such as {PREFIX}SERVER{NESTED}PORT=8484, or use JSON",
    )


def _refuse_duplicate_models(settings: Settings, file: Path) -> None:
    names = [model.name for model in settings.models]
    for name in names:
        if names.count(name) > 1:
            raise InvalidConfig(source=file, problem=f"two models are named {name!r}", remedy="Give each its own name")


def _given(values: Any, where: tuple[int | str, ...]) -> bool:
    """Whether the file itself sets the key."""
    return bool(where) and isinstance(values, dict) and where[0] in values
