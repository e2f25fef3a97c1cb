"""One typed `Settings` object, from `kairos.toml` and the environment, with unknown keys refused.

The environment wins over the file: `KAIROS_SERVER__PORT=9000` sets `port` under `[server]`.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from kairos import config_faults
from kairos.errors import KairosError
from kairos.model_address import Unusable, key_variable, model_address

Seconds = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class InvalidConfig(KairosError):
    """{source}: {problem}. {remedy}"""

    status, code, exit_code = 500, "invalid_config", 2


class Reach(StrEnum):
    """When a value that is changed through the API takes effect."""

    LIVE = "live"
    """Within two seconds, in every replica."""
    RESTART = "restart"
    """At the next start of each replica."""
    FILE = "file"
    """Never: it is needed before the database can be reached, so it stands in `kairos.toml` or the environment."""


Part = TypeVar("Part", bound=BaseModel)


def _usable(read: Callable[[str], str], value: str) -> str:
    """What `read` makes of it; an error that does not repeat the value, which may hold a credential."""
    try:
        return read(value)
    except Unusable as fault:
        raise PydanticCustomError("unusable", "{fault}", {"fault": str(fault)}) from None


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    reach: ClassVar[Reach] = Reach.LIVE
    restart: ClassVar[frozenset[str]] = frozenset()
    """Keys of a live section that are read once, at the start."""
    only_in_file: ClassVar[frozenset[str]] = frozenset()
    """Keys of a live section that the API does not change."""


class ServerSettings(Section):
    """Where the API listens."""

    reach: ClassVar[Reach] = Reach.FILE
    host: str = Field(default="127.0.0.1", description="Address the API listens on.")
    port: int = Field(default=8484, ge=0, le=65535, description="Port the API listens on; 0 takes a free one.")
    body_limit_bytes: int = Field(default=2 * 1024 * 1024, ge=1024, description="Largest request body that is read.")


class DatabaseSettings(Section):
    """PostgreSQL 15 or newer. With no address the embedded one is started."""

    reach: ClassVar[Reach] = Reach.FILE
    url: SecretStr | None = Field(default=None, description="Address for the app role, which row-level security binds.")
    migration_url: SecretStr | None = Field(
        default=None, description="Address for the owner role, used by migrations alone."
    )
    system_url: SecretStr | None = Field(
        default=None, description="Address for the system role: sweep, partitions, schedules."
    )
    pool_size: int = Field(
        default=8, ge=2, le=200, description="Connections each daemon keeps to PostgreSQL for the app role."
    )
    statement_timeout_s: Seconds = Field(default=30, description="Longest time one statement may take.")


class RedisSettings(Section):
    """Redis 6.2 or newer, or Valkey. With no address the embedded one is started."""

    reach: ClassVar[Reach] = Reach.FILE
    url: SecretStr | None = Field(default=None, description="Address: redis://:password@host:port/0.")


class EmbeddedSettings(Section):
    """What `kairos start` brings up by itself where no address is given."""

    reach: ClassVar[Reach] = Reach.FILE
    model: bool = Field(default=True, description="Start the small embedded model.")


class QueueSettings(Section):
    """How tasks are handed out, kept alive and tried again."""

    restart: ClassVar[frozenset[str]] = frozenset({"lease_s", "sweep_s"})
    lease_s: Seconds = Field(
        default=30, description="How long a worker may be silent before its task is given to another."
    )
    sweep_s: Seconds = Field(default=5, description="Time between two looks of the sweeper.")
    drain_s: Seconds = Field(default=30, description="How long running tasks may go on after SIGTERM.")
    max_attempts: int = Field(
        default=3, ge=1, le=100, description="Claims of one task before it goes to the dead letters."
    )
    retry_base_s: Seconds = Field(
        default=2, description="Wait before the second attempt; doubles with each one, jittered."
    )
    retry_max_s: Seconds = Field(default=300, description="Longest wait between two attempts.")
    interactive_slots: int = Field(default=2, ge=1, description="Slots that only interactive tasks use.")
    task_timeout_s: Seconds = Field(
        default=900, description="Longest time one attempt may take when the task names none."
    )
    project_cap: int | None = Field(
        default=None, ge=1, description="Running tasks of one project in a lane, over all daemons."
    )


class AuthSettings(Section):
    """Sign-in and tokens."""

    access_minutes: Annotated[int, Field(ge=1, le=1440)] = Field(default=10, description="Life of an access token.")
    refresh_days: Annotated[int, Field(ge=1, le=365)] = Field(
        default=30, description="Life of a refresh token not used."
    )


class GuardianSettings(Section):
    """How outputs are checked."""

    tries: int = Field(
        default=2, ge=1, le=5, description="Drafts an agent may make in one attempt before a rejection is final."
    )
    test_seconds: Seconds = Field(default=10, description="Wall time for the tests given with a task.")
    test_memory_mb: int = Field(default=512, ge=64, description="Memory for the tests given with a task.")


class CacheSection(Section):
    """Answers that are given again."""

    ttl_s: Seconds = Field(default=86_400, description="How long an answer serves.")
    project_bytes: int = Field(default=32 * 1024 * 1024, ge=0, description="What one project may keep in Redis.")
    total_bytes: int = Field(default=256 * 1024 * 1024, ge=0, description="What all projects together may keep.")


class JudgeSettings(Section):
    """A model that grades answers which no check could measure."""

    model: str = Field(default="", description="Name in the catalogue of the model that judges; empty is none.")
    share: Share = Field(default=0.2, description="Share of the answers without another measure that are judged.")
    rubrics: dict[str, str] = Field(
        default={}, description="What a good answer is, by task type; the others are judged by a general rubric."
    )
    timeout_s: Seconds = Field(default=60, description="Longest time that one answer is judged.")


class RouterSettings(Section):
    """What the router weighs."""

    lambda_cost: float = Field(default=0.15, ge=0, le=2, description="Weight of cost against quality.")
    lambda_latency: float = Field(default=0.10, ge=0, le=2, description="Weight of waiting time against quality.")
    latency_target_s: Seconds = Field(default=8, description="Answer time whose penalty is 63 % of the whole.")
    last_resort: str = Field(default="", description="Model that is called when the breakers of all are open.")
    flush_s: Seconds = Field(
        default=2, description="Time between two writes of what was learned, once a model is well known."
    )
    poll_s: Seconds = Field(
        default=5, description="Time between two looks at what other daemons learned, where no notice of it came."
    )
    metrics_months: int = Field(
        default=13, ge=1, le=1200, description="Whole months that the figures of single calls are kept."
    )


class RetentionSettings(Section):
    """What is removed by itself after a while."""

    audit_days: int = Field(default=365, ge=1, le=36500, description="Days that entries of the audit log are kept.")


class FineTuningSettings(Section):
    """How adapters are trained, judged, kept, and brought into service."""

    restart: ClassVar[frozenset[str]] = frozenset({"folder", "quota_mb"})
    folder: Path | None = Field(
        default=None,
        description="Folder of adapters and runs, which all replicas must see; left out, `models` in data_dir.",
    )
    fewest_rows: int = Field(default=8, ge=1, description="Approved rows for training below which no run begins.")
    held_out_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.2, description="Share of the approved rows that is kept from training, to judge the adapter with."
    )
    replay_share: Annotated[float, Field(ge=0, le=0.9)] = Field(
        default=0.5, description="Share of the examples that are ordinary prompts answered by the base itself."
    )
    epochs: Annotated[float, Field(gt=0, le=100)] = Field(default=4, description="Passes over the examples.")
    threads: int = Field(default=0, ge=0, le=1024, description="Threads of a training on a CPU; 0 leaves it to torch.")
    timeout_s: Seconds = Field(default=21_600, description="Longest time that training and gate may take together.")
    control_prompts: int = Field(default=80, ge=8, le=80, description="Ordinary prompts that the gate asks.")
    held_out_prompts: int = Field(default=100, ge=8, le=1000, description="Held-out rows that the gate asks at most.")
    margin: Share = Field(default=0.1, description="Loss on ordinary prompts that the gate forgives.")
    canary_share: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.5, description="Share of the requests for which a promoted adapter is a candidate at first; 1 is all."
    )
    canary_answers: int = Field(
        default=5, ge=1, le=10_000, description="Measured answers after which a canary that is no worse goes live."
    )
    quota_mb: int = Field(default=2048, ge=1, description="What the adapters of one project may take on the disk.")
    trigger_rows: int = Field(
        default=0, ge=0, description="New approved rows that start a run by themselves; 0 leaves it to people."
    )
    trigger_hours: Annotated[float, Field(ge=0)] = Field(
        default=0, description="Hours after which new approved rows start a run by themselves; 0 leaves it to people."
    )
    trigger_base: str = Field(default="", description="The model such runs train; empty is the first that can be.")


class PluginSettings(Section):
    """Plugins: code that an operator installs, in a folder or as packages."""

    only_in_file: ClassVar[frozenset[str]] = frozenset({"folder"})
    folder: Path = Field(
        default=Path("plugins"), description="Folder of plugins: files and packages; a relative one is beside the file."
    )
    probe_s: Seconds = Field(default=5, description="Longest time that a plugin's import may take.")
    memory_mb: int = Field(
        default=1024, ge=64, description="Memory of a process in which a plugin is imported or does a task."
    )
    cpu_s: Annotated[float, Field(gt=0, le=86_400)] = Field(
        default=60, description="CPU time of such a process; waiting costs none."
    )
    private_hosts: list[str] = Field(
        default=[],
        description="Names, addresses and networks (10.0.0.0/8) that plugins may call by a project's settings although "
        "they are not on the public internet. Every project reaches what stands here.",
    )
    settings: dict[str, dict[str, Any]] = Field(
        default={}, description="Configuration of plugins, by name; each has a schema of its own."
    )
    reloads: int = Field(
        default=0, ge=0, description="Raised by `kairos plugin reload`: each daemon that sees it change scans again."
    )


class PriceSettings(Section):
    input: float = Field(ge=0, description="USD per million input tokens.")
    output: float = Field(ge=0, description="USD per million output tokens.")


class ModelSettings(Section):
    """One `[[models]]` entry: a model behind an OpenAI-compatible address."""

    reach: ClassVar[Reach] = Reach.FILE
    name: str = Field(min_length=1, max_length=200, description="Name in Kairos, unique.")
    upstream: str | None = Field(
        default=None, description="Name the server knows it by; the same as `name` when left out."
    )
    base_url: Annotated[str, AfterValidator(partial(_usable, model_address))] = Field(
        description="OpenAI-compatible address with its version path; a query such as ?api-version=… may follow."
    )
    api_key_env: Annotated[str, AfterValidator(partial(_usable, key_variable))] | None = Field(
        default=None, description="Environment variable that holds the key."
    )
    local: bool = Field(default=False, description="Whether prompts stay on your own hardware.")
    price: PriceSettings | None = Field(
        default=None, description="USD per million tokens; left out means unknown, not free."
    )
    context: int = Field(
        default=8192,
        ge=256,
        description="Tokens of prompt and answer together; left out, what its server says (else 32768 in the cloud).",
    )
    specialties: list[str] = Field(default=[], description="Task types it is declared good at.")
    tier: Share | None = Field(default=None, description="Declared quality in [0, 1] before anything was measured.")
    capabilities: list[str] = Field(
        default=[],
        description="What requests may demand: tools, vision. json_schema, no_json_schema overrule what calls showed.",
    )
    runner: str | None = Field(default=None, description="Models with the same runner share one loaded copy.")
    weights: Path | None = Field(
        default=None, description="Its weights on this machine, to train adapters on: a GGUF file or a folder."
    )
    adapters: Literal["ollama"] | None = Field(
        default=None, description="What serves its adapters: `ollama` where base_url is one; left out, it gets none."
    )


class Settings(BaseSettings):
    """The configuration of one daemon."""

    model_config = SettingsConfigDict(
        env_prefix="KAIROS_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
    )
    file: ClassVar[Path | None] = None
    only_in_file: ClassVar[frozenset[str]] = frozenset({"data_dir", "models"})

    data_dir: Path = Field(
        default=Path(".kairos"), description="Folder of the embedded engines and of this daemon's secrets."
    )
    max_concurrent_tasks: int = Field(
        default=4, ge=1, le=1000, description="Tasks this daemon runs at once, all lanes together."
    )
    default_llm_model: str = Field(
        default="auto", description="`auto` lets the router choose; a name sends every call there."
    )
    log_level: str = Field(
        default="info", pattern="^(debug|info|warning|error)$", description="Least level that is logged."
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
    models: list[ModelSettings] = []

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # The file's values come in as init arguments (see `load`), and the environment stands above them.
        return env_settings, init_settings


class _Given(Settings):
    """Validated from its arguments alone: file and environment have had their say already."""

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


def overridden(settings: Settings, overrides: Mapping[str, Any]) -> Settings:
    """The settings with these values, by dotted key, in place of their own; a mapping is merged into the one there
    (RFC 7396).

    Raises `InvalidConfig` that names the key.
    """
    values = settings.model_dump()
    for key, value in overrides.items():
        *section, name = key.split(".")
        place = values[section[0]] if section else values
        place[name] = merged(place[name], value) if isinstance(value, Mapping) else value
    try:
        return _Given(**values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = tuple(first["loc"])
        key = next((key for key in overrides if tuple(key.split(".")) == where[: key.count(".") + 1]), "")
        raise InvalidConfig(
            source=key or ".".join(map(str, where)), problem=config_faults.problem(first), remedy="Correct the value"
        ) from None


def merged(value: Any, patch: Any) -> Any:
    """The value with a JSON merge patch applied (RFC 7396): null takes a key away."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(value) if isinstance(value, Mapping) else {}
    for key, change in patch.items():
        if change is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), change)
    return result


def config_path(explicit: Path | None = None) -> Path:
    """The configuration file in use: the one named, else `KAIROS_CONFIG`, else `kairos.toml` here."""
    return explicit or Path(os.environ.get("KAIROS_CONFIG", "kairos.toml"))


def load(path: Path | None = None) -> Settings:
    """Read and validate the configuration. A file that was named must exist; the default one may be absent.

    Raises `InvalidConfig` with the file, the line and the nearest known key.
    """
    file = config_path(path)
    named = path is not None or "KAIROS_CONFIG" in os.environ
    if not file.exists():
        if named:
            raise InvalidConfig(source=file, problem="no such file", remedy="Give the path of a kairos.toml")
        return _validated({}, file, "")
    text = read_text(file)
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidConfig(source=file, problem=f"not valid TOML: {error}", remedy="Mend the line named") from error
    settings = _validated(values, file, text)
    _refuse_duplicate_models(settings, file)
    return _placed(settings, file)


def read_text(file: Path) -> str:
    """The text of a configuration file. Raises `InvalidConfig`."""
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidConfig(
            source=file, problem=f"cannot be read: {error}", remedy="Check its path and rights"
        ) from error


def _placed(settings: Settings, file: Path) -> Settings:
    plugins = _with(settings.plugins, folder=_beside(file, settings.plugins.folder))
    return _with(settings, data_dir=_beside(file, settings.data_dir), plugins=plugins)


def _with(part: Part, **values: Any) -> Part:
    """A copy with these values, in which only what people gave still counts as given."""
    copy = part.model_copy(update=values)
    copy.model_fields_set.intersection_update(part.model_fields_set)
    return copy


def _beside(file: Path, folder: Path) -> Path:
    """A relative folder lies beside the configuration file, so that `kairos` works from any directory."""
    return (file.parent / folder.expanduser()).resolve()


def _validated(values: dict[str, Any], file: Path, text: str) -> Settings:
    try:
        settings = Settings(**values)
    except ValidationError as error:
        first = config_faults.foremost(error.errors(include_url=False))
        where = tuple(part for part in first["loc"])
        raise InvalidConfig(
            source=f"{file}{config_faults.line(text, where)}"
            if _given(values, where)
            else f"environment {config_faults.variable(where)}",
            problem=f"{'.'.join(map(str, where))}: {config_faults.problem(first)}",
            remedy=config_faults.remedy(Settings, where, first["type"]),
        ) from None
    return settings if text else _placed(settings, file)


def _refuse_duplicate_models(settings: Settings, file: Path) -> None:
    names = [model.name for model in settings.models]
    for name in names:
        if names.count(name) > 1:
            raise InvalidConfig(source=file, problem=f"two models are named {name!r}", remedy="Give each its own name")


def _given(values: Any, where: tuple[int | str, ...]) -> bool:
    """Whether the file itself holds the key (else the environment gave it, or the file lacks it)."""
    return bool(where) and isinstance(values, dict) and where[0] in values
