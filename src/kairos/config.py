"""One typed `Settings` object, from `kairos.toml` and the environment, with unknown keys refused.

The environment wins over the file: `KAIROS_SERVER__PORT=9000` sets `port` under `[server]`.
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
from kairos.config_section import MOST_BYTES, MOST_MB, MOST_ROWS, Seconds, Section, Share
from kairos.config_section import Reach as Reach
from kairos.config_server import ServerSettings
from kairos.errors import KairosError, did_you_mean
from kairos.text import storable_json
from kairos.text_files import NotUtf8, decode_text


class InvalidConfig(KairosError):
    """{source}: {problem}. {remedy}"""

    status, code, exit_code = 500, "invalid_config", 2


Part = TypeVar("Part", bound=BaseModel)
Most = Annotated[int, Field(ge=1, le=100_000)]


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
    statement_timeout_s: float = Field(
        default=30, ge=0.1, le=86_400, description="Longest time one statement may take."
    )


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
    interactive_slots: int = Field(default=2, ge=1, le=1000, description="Slots that only interactive tasks use.")
    task_timeout_s: Seconds = Field(
        default=900, description="Longest time one attempt may take when the task names none."
    )
    project_cap: int | None = Field(
        default=None, ge=1, le=MOST_ROWS, description="Running tasks of one project in a lane, over all daemons."
    )


class AuthSettings(Section):
    """Sign-in and tokens."""

    access_minutes: Annotated[int, Field(ge=1, le=1440)] = Field(default=10, description="Life of an access token.")
    refresh_days: Annotated[int, Field(ge=1, le=365)] = Field(
        default=30, description="Life of a refresh token not used."
    )
    sessions_per_user: Most = Field(default=100, description="Live sessions of one user; a new one ends the oldest.")
    sockets_per_user: Most = Field(default=50, description="WebSockets of one user at each daemon.")
    projects_per_user: Most = Field(default=200, description="Projects that one user may own.")
    keys_per_project: Most = Field(default=200, description="API keys of one project that were not revoked.")
    invitations_per_project: Most = Field(default=200, description="Invitations of one project that are open.")


class GuardianSettings(Section):
    """How outputs are checked."""

    only_in_file: ClassVar[frozenset[str]] = frozenset({"allow_weak_isolation"})
    tries: int = Field(
        default=2, ge=1, le=5, description="Drafts an agent may make in one attempt before a rejection is final."
    )
    test_seconds: Seconds = Field(default=10, description="Wall time for the tests given with a task.")
    test_memory_mb: int = Field(
        default=512,
        ge=64,
        le=MOST_MB,
        description="Memory for the tests given with a task, of all their processes together.",
    )
    allow_weak_isolation: bool = Field(
        default=False,
        description="Run tests on hosts that cannot isolate code. RISK: whoever submits a task can then read the"
        " daemon's files and secrets, use its network, and become operator (docs/isolation.md).",
    )


class CacheSection(Section):
    """Answers that are given again."""

    ttl_s: float = Field(default=86_400, ge=0.01, le=366 * 86_400, description="How long an answer serves.")
    project_bytes: int = Field(
        default=32 * 1024 * 1024, ge=0, le=MOST_BYTES, description="What one project may keep in Redis."
    )
    total_bytes: int = Field(
        default=256 * 1024 * 1024, ge=0, le=MOST_BYTES, description="What all projects together may keep."
    )


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
    fewest_rows: int = Field(
        default=8, ge=1, le=MOST_ROWS, description="Approved rows for training below which no run begins."
    )
    held_out_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.2, description="Share of the approved rows that is kept from training, to judge the adapter with."
    )
    replay_share: Annotated[float, Field(ge=0, le=0.9)] = Field(
        default=0.5, description="Share of the examples that are ordinary prompts answered by the base itself."
    )
    epochs: Annotated[float, Field(ge=0.01, le=100)] = Field(default=4, description="Passes over the examples.")
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
    quota_mb: int = Field(
        default=2048, ge=1, le=MOST_MB * 1024, description="What the adapters of one project may take on the disk."
    )
    trigger_rows: int = Field(
        default=0,
        ge=0,
        le=MOST_ROWS,
        description="New approved rows that start a run by themselves; 0 leaves it to people.",
    )
    trigger_hours: Annotated[float, Field(ge=0, le=87_600)] = Field(
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
        default=1024, ge=64, le=MOST_MB, description="Memory of a process in which a plugin is imported or does a task."
    )
    cpu_s: Annotated[float, Field(ge=0.01, le=86_400)] = Field(
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
        default=0,
        ge=0,
        le=2**53,
        description="Raised by `kairos plugin reload`: each daemon that sees it change scans again.",
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

    @field_validator("data_dir", "max_concurrent_tasks", "default_llm_model", "log_level", mode="before")
    @classmethod
    def storable(cls, value: Any) -> Any:
        """As in the sections, which check their own keys."""
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
    if not os.path.lexists(file):
        if named:
            raise InvalidConfig(source=file, problem="no such file", remedy="Give the path of a kairos.toml")
        return _validated({}, file, "")
    text = read_text(file)
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: also an integer of more digits than Python reads
        raise InvalidConfig(source=file, problem=f"not valid TOML: {error}", remedy="Mend the line named") from error
    settings = _validated(values, file, text)
    _refuse_duplicate_models(settings, file)
    return _placed(settings, file)


def read_text(file: Path) -> str:
    """The text of a configuration file. Raises `InvalidConfig`."""
    try:
        return decode_text(file.read_bytes())
    except NotUtf8 as error:
        raise InvalidConfig(source=file, problem=str(error), remedy="Save it as UTF-8") from None
    except (OSError, ValueError) as error:
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
    try:
        return (file.parent / folder.expanduser()).resolve()
    except (OSError, RuntimeError, ValueError) as error:  # no such user, a link to itself, a folder that was removed
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
        first = config_faults.foremost(error.errors(include_url=False))
        where = tuple(part for part in first["loc"])
        missing = first["type"] == "missing"
        by = config_faults.given_by(where[:-1] if missing else where, os.environ)
        if missing and not by and not _given(values, where):
            by = config_faults.variable(where)
        raise InvalidConfig(
            source=f"environment {by}" if by else f"{file}{config_faults.line(text, where)}",
            problem=f"{'.'.join(map(str, where))}: {config_faults.problem(first)}",
            remedy=config_faults.remedy(Settings, where, first["type"]),
        ) from None
    return settings if text else _placed(settings, file)


def _check_variables() -> None:
    """Raises `InvalidConfig` for a variable that would have no effect."""
    if (name := config_faults.stray_variable(os.environ, Settings.model_fields)) is not None:
        section = config_faults.section_of(name)
        remedy = did_you_mean(section, Settings.model_fields) or "docs/configuration.md lists every key"
        raise InvalidConfig(source=f"environment {name}", problem=f"there is no section {section!r}", remedy=remedy)


def _not_json(error: SettingsError) -> InvalidConfig:
    """A section or a list is given in one variable as JSON."""
    return InvalidConfig(
        source=f"environment {config_faults.unread_variable(str(error), os.environ)}",
        problem="its value is not JSON, which a section or a list is given as",
        remedy=f"Set single keys, such as {PREFIX}SERVER{NESTED}PORT=8484, or give JSON",
    )


def _refuse_duplicate_models(settings: Settings, file: Path) -> None:
    names = [model.name for model in settings.models]
    for name in names:
        if names.count(name) > 1:
            raise InvalidConfig(source=file, problem=f"two models are named {name!r}", remedy="Give each its own name")


def _given(values: Any, where: tuple[int | str, ...]) -> bool:
    """Whether the file itself holds the key (else the environment gave it, or the file lacks it)."""
    return bool(where) and isinstance(values, dict) and where[0] in values
