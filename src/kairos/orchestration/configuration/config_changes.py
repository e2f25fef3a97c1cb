"""Changes to the configuration: sets values by key, lists versions with author and reason, and reverts to a version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from kairos import config_reference
from kairos.config import ApplyMode, InvalidConfig, Settings
from kairos.config_reference import nearest, shown, value_of
from kairos.db.engine import Database, Duplicate, Session
from kairos.db.models import AuditAction, ProjectRow
from kairos.db.repositories import configuration
from kairos.db.repositories.access import people
from kairos.db.repositories.configuration import Version
from kairos.db.repositories.projects import projects
from kairos.errors import InvalidInput, KairosError, NotFound
from kairos.orchestration.configuration import plugin_rules
from kairos.orchestration.configuration.configuration import Configuration
from kairos.orchestration.configuration.project_limits import ProjectLimits
from kairos.plugins.plugin_loader import PluginLoader
from kairos.project_settings import ProjectSettings, settings_after
from kairos.secret_shapes import is_secret_name, looks_secret, shapes_in
from kairos.tenancy import NOBODY, ProjectId, Scope, UserId

PROJECT = "project."
"""Prefix of the keys of the active project's values."""


class ConfigMoved(KairosError):
    """{whose} is at version {now}, and the change is based on version {based_on}. Changes since then: {difference}.
    Review them, and send your change for version {now}."""

    status, code, exit_code = 409, "config_moved", 5


class SystemValue(KairosError):
    """{keys} applies to the whole system, and only operators may change it. You may set values of your own project,
    whose
    keys begin with `project.`."""

    status, code, exit_code = 403, "system_value", 6


class ProjectValue(KairosError):
    """{keys} belongs to the project, and only its admins and owners may change it. Ask one of them."""

    status, code, exit_code = 403, "project_value", 6


@dataclass(frozen=True, slots=True)
class Author:
    """The user who changes values, with the permissions that decide which ones."""

    user_id: UserId
    operator: bool
    project_id: ProjectId | None
    manages_project: bool

    @property
    def scope(self) -> Scope:
        return Scope(self.project_id, self.user_id, operator=self.operator)


@dataclass(frozen=True, slots=True)
class ChangeResult:
    """The result of a change, or of its dry run."""

    version: int
    """The system's version after the change."""
    project_version: int
    """The project's version after the change."""
    differences: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """`before` and `after` of each changed value, by key."""
    restart: tuple[str, ...] = ()
    """Changed keys that take effect at the next start of each replica."""


@dataclass(frozen=True, slots=True)
class ConfigChange:
    """A requested change."""

    changes: Mapping[str, Any]
    """Nested like `kairos.toml`, or with dotted keys. null removes a value, so that the one of file and environment or
    the default applies."""
    why: str
    version: int | None = None
    """The version of the system's values that the change is based on; required if it changes one."""
    project_version: int | None = None
    """The same for the project's values."""
    dry_run: bool = False


class ConfigChanges:
    """Validates changes as a whole, stores them as versions, and notifies the replicas."""

    def __init__(
        self, database: Database, running: Configuration, limits: ProjectLimits, plugins: PluginLoader
    ) -> None:
        self._database = database
        self._running = running
        self._limits = limits
        self._plugins = plugins

    async def change(self, author: Author, request: ConfigChange) -> ChangeResult:
        """Apply a change completely or not at all.

        Raises `InvalidInput`, `SystemValue`, `ProjectValue`, `ConfigMoved`.
        """
        flat = dict(_flat(request.changes))
        system = {key: value for key, value in flat.items() if not key.startswith(PROJECT)}
        own = {key.removeprefix(PROJECT): value for key, value in flat.items() if key.startswith(PROJECT)}
        _allow(author, system, own)
        _refuse_secrets(flat)
        await self._check_plugins(author, system, own)
        try:
            async with self._database.scope(author.scope) as session:
                of_system = await self._change_system(session, author, system, request)
                of_project = await self._change_project(session, author, own, request)
                if request.dry_run:
                    await session.rollback()
        except Duplicate:  # a concurrent change created the same version
            return await self.change(author, request)
        if system and not request.dry_run:
            await self._running.notify()
        if own and author.project_id and not request.dry_run:
            await self._limits.changed(author.project_id)
        return ChangeResult(
            of_system.version,
            of_project.project_version,
            {**of_system.differences, **of_project.differences},
            of_system.restart,
        )

    async def revert(
        self, author: Author, project_id: ProjectId | None, to: int, request: ConfigChange
    ) -> ChangeResult:
        """Create a new version with the values of an old one; 0 is the state before any value was set.

        Raises `NotFound` and the errors of `change`.
        """
        async with self._database.scope(author.scope) as session:
            newest = await configuration.newest(session, project_id)
            old = await configuration.version(session, project_id, to) if to else None
        if to and old is None:
            raise NotFound(what="version", id=to)
        now, then = newest.values if newest else {}, old.values if old else {}
        changes = {key: then.get(key) for key in {*now, *then} if now.get(key) != then.get(key)}
        prefix = "" if project_id is None else PROJECT
        known = _known()
        wanted = {f"{prefix}{key}": value for key, value in changes.items() if f"{prefix}{key}" in known}
        return await self.change(
            author, ConfigChange(wanted, request.why, request.version, request.project_version, dry_run=request.dry_run)
        )

    async def raise_reloads(self, user_id: UserId) -> ChangeResult:
        """Increase `plugins.reloads`, so that each daemon scans its plugins again. Raises `ConfigMoved`."""
        async with self._database.scope(NOBODY) as session:
            number = await configuration.newest_number(session, None)
        changes = {"plugins.reloads": self._running.live.now.plugins.reloads + 1}
        author = Author(user_id, operator=True, project_id=None, manages_project=False)
        return await self.change(author, ConfigChange(changes, "plugins were scanned again", number))

    async def history(
        self, scope: Scope, project_id: ProjectId | None, before: int | None, limit: int
    ) -> list[Version]:
        """Newest first."""
        async with self._database.scope(scope) as session:
            return await configuration.page(session, project_id, before=before, limit=limit)

    async def _check_plugins(self, author: Author, system: Mapping[str, Any], own: Mapping[str, Any]) -> None:
        """Validate plugin settings outside of the transaction, because a schema may take a while.

        Valid values are cached, so that the same check on the locked row returns at once.
        """
        if plugin_rules.SETTINGS not in system and "plugin_settings" not in own:
            return
        async with self._database.scope(author.scope) as session:
            newest = await configuration.newest(session, None)
            status = await projects.status(session, author.project_id) if author.project_id else None
        if patch := system.get(plugin_rules.SETTINGS):
            wanted = dict(newest.values) if newest else {}
            _set(wanted, plugin_rules.SETTINGS, patch)
            await plugin_rules.check_system(self._plugins, patch, self._settings_of(wanted).plugins.settings)
        if status is not None and "plugin_settings" in own:
            before = ProjectSettings.of(status.settings)
            await plugin_rules.check_project(self._plugins, before, settings_after(before, own))

    async def _change_system(
        self, session: Session, author: Author, changes: Mapping[str, Any], request: ConfigChange
    ) -> ChangeResult:
        newest = await configuration.newest(session, None)
        number, overrides = (newest.number, dict(newest.values)) if newest else (0, {})
        if not changes:
            return ChangeResult(number, 0)
        await _check_version(session, None, number, request.version)
        wanted = dict(overrides)
        for key, value in changes.items():
            _set(wanted, key, value)
        before, after = self._running.wanted(overrides), self._settings_of(wanted)
        if patch := changes.get(plugin_rules.SETTINGS):
            await plugin_rules.check_system(self._plugins, patch, after.plugins.settings)
        differences = dict(_differences(before, after, changes))
        if wanted == overrides:
            return ChangeResult(number, 0)
        version = Version(number + 1, datetime.now(UTC), request.why, differences, wanted, None)
        await configuration.add(session, None, version, author.user_id)
        await people.audit(
            session,
            AuditAction.CONFIG_CHANGED,
            user_id=author.user_id,
            target=f"version {version.number}",
            data={"changes": differences, "why": request.why},
        )
        restart = tuple(key for key in differences if config_reference.by_name()[key].reach is ApplyMode.RESTART)
        return ChangeResult(version.number, 0, differences, restart)

    def _settings_of(self, overrides: Mapping[str, Any]) -> Settings:
        try:
            return self._running.wanted(overrides)
        except InvalidConfig as error:
            raise InvalidInput(
                where=error.values["source"], problem=error.values["problem"], remedy=error.values["remedy"]
            ) from error

    async def _change_project(
        self, session: Session, author: Author, changes: Mapping[str, Any], request: ConfigChange
    ) -> ChangeResult:
        if author.project_id is None:
            return ChangeResult(0, 0)
        row = await projects.locked(session, author.project_id) if changes else None
        number = await configuration.newest_number(session, author.project_id)
        if not changes:
            return ChangeResult(0, number)
        if row is None:
            raise NotFound(what="project", id=author.project_id)
        await _check_version(session, author.project_id, number, request.project_version)
        before = ProjectSettings.of(row.settings)
        after = settings_after(before, changes)
        await plugin_rules.check_project(self._plugins, before, after)
        written = await write_project(session, Scope(author.project_id, author.user_id), row, after, request.why)
        differences = {f"{PROJECT}{key}": difference for key, difference in written.differences.items()}
        return ChangeResult(0, written.project_version, differences)


async def write_project(
    session: Session, scope: Scope, row: ProjectRow, after: ProjectSettings, why: str, name: str | None = None
) -> ChangeResult:
    """Store a project's settings as its next version, and its name. The caller has locked the row. Unchanged values
    create no version."""
    assert scope.project_id is not None
    before = ProjectSettings.of(row.settings)
    differences = {
        key: {"before": old, "after": new}
        for (key, old), new in zip(before.model_dump().items(), after.model_dump().values(), strict=True)
        if old != new
    }
    renamed = {"name": {"before": row.name, "after": name}} if name and name != row.name else {}
    number = await configuration.newest_number(session, scope.project_id)
    if not differences and not renamed:
        return ChangeResult(0, number)
    settings = {**row.settings, **after.model_dump()}
    await projects.change(session, scope.project_id, name=name or row.name, settings=settings)
    if differences:
        number += 1
        version = Version(number, datetime.now(UTC), why, differences, settings, None)
        await configuration.add(session, scope.project_id, version, scope.user_id)
    await people.audit(
        session,
        AuditAction.PROJECT_CHANGED,
        user_id=scope.user_id,
        project_id=scope.project_id,
        data={"changes": {**renamed, **differences}, "why": why},
    )
    return ChangeResult(0, number, differences)


def _known() -> dict[str, Any]:
    of_project = {f"{PROJECT}{name}": entry for name, entry in ProjectSettings.model_fields.items()}
    return {**config_reference.by_name(), **of_project}


def _flat(changes: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    known = _known()
    for name, value in changes.items():
        key = f"{above}{name}"
        if key in known:
            yield key, value
        elif isinstance(value, Mapping) and any(other.startswith(f"{key}.") for other in known):
            yield from _flat(value, f"{key}.")
        elif key.partition(".")[0] == "models":
            raise InvalidInput(
                where=key, problem="the catalogue of models cannot be set here", remedy=_in_file("[[models]]")
            )
        else:
            raise InvalidInput(where=key, problem="unknown key", remedy=nearest(key, known))


def _allow(author: Author, system: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Check the author's permissions.

    Raises `SystemValue`, `ProjectValue`, and `InvalidInput` for keys that can only be set in the file.
    """
    if system and not author.operator:
        raise SystemValue(keys=", ".join(system))
    if own and not author.manages_project:
        raise ProjectValue(keys=", ".join(f"{PROJECT}{key}" for key in own))
    for name in system:
        key = config_reference.by_name()[name]
        if key.reach is ApplyMode.FILE:
            raise InvalidInput(
                where=name,
                problem="it is needed before the database can be reached",
                remedy=_in_file(f"`{name}`", key.variable),
            )
    slots = system.get("max_concurrent_tasks")
    if isinstance(slots, int) and slots < 1:
        raise InvalidInput(
            where="max_concurrent_tasks",
            problem=f"with {slots} slots no task could ever run",
            remedy="Set at least 1; to pause all tasks, archive the projects or stop the workers",
        )


def _in_file(what: str, variable: str = "") -> str:
    return f"Set {what} in kairos.toml{f' or {variable} in the environment' if variable else ''}, and restart Kairos"


def _refuse_secrets(changes: Mapping[str, Any]) -> None:
    """Reject values that look like secrets: values set here are visible to others and stay in the history."""
    for key, value in changes.items():
        for name, text in _texts(key, value):
            if any(shapes_in(text)) or (is_secret_name(name) and looks_secret(text)):
                raise InvalidInput(
                    where=name,
                    problem="it looks like a secret, and secrets must not be stored in the configuration",
                    remedy="Set it as an environment variable, and give the variable's name here",
                )


def _texts(key: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _texts(f"{key}.{name}", inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(key, inner)


async def _check_version(session: Session, project_id: ProjectId | None, now: int, based_on: int | None) -> None:
    if based_on is None:
        where = "version" if project_id is None else "project_version"
        raise InvalidInput(
            where=where, problem="it is required to change these values", remedy="`GET /api/config` returns it"
        )
    if based_on == now:
        return
    differences = []
    for version in await configuration.after(session, project_id, based_on):
        for key, difference in version.changes.items():
            by = f" by {version.by}" if version.by else ""
            differences.append(f"{key} from {difference['before']!r} to {difference['after']!r}{by}")
    raise ConfigMoved(
        whose="The configuration" if project_id is None else "The project's configuration",
        now=now,
        based_on=based_on,
        difference="; ".join(differences) or "none that can be shown",
    )


def _set(overrides: dict[str, Any], key: str, value: Any) -> None:
    if value is None:
        overrides.pop(key, None)
    elif isinstance(value, Mapping):
        overrides[key] = _composed(overrides.get(key), value)
    else:
        overrides[key] = value


def _composed(first: Any, then: Mapping[str, Any]) -> dict[str, Any]:
    """The merge patch equal to applying both patches in order. Nulls are kept: they remove the value below."""
    result = dict(first) if isinstance(first, Mapping) else {}
    for name, value in then.items():
        result[name] = _composed(result.get(name), value) if isinstance(value, Mapping) else value
    return result


def _differences(before: Settings, after: Settings, changes: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """`before` and `after` of each changed key. Of a mapping only the named parts: the rest may hold secrets."""
    for key, change in changes.items():
        old, new = (_named(shown(value_of(settings, key)), change) for settings in (before, after))
        if old != new:
            yield key, {"before": old, "after": new}


def _named(value: Any, change: Any) -> Any:
    if not isinstance(value, Mapping) or not isinstance(change, Mapping):
        return value
    return {name: _named(value[name], inner) for name, inner in change.items() if name in value}
