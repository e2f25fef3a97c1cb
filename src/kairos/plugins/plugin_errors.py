"""Errors of plugins."""

from __future__ import annotations

from kairos.errors import KairosError


class PluginCrashed(KairosError):
    """The plugin {name} failed: {reason}. Fix the plugin; the daemon's log has the traceback."""

    status, code = 500, "plugin_crashed"


class PluginDied(KairosError):
    """The process of the plugin {name} ended without an answer: {reason}. The daemon's log has its output."""

    status, code = 500, "plugin_died"


class PluginMemory(KairosError):
    """The plugin {name} exceeded its memory limit of {limit} MB. Raise plugins.memory_mb, or fix the plugin."""

    status, code = 500, "plugin_memory"


class PluginCpu(KairosError):
    """The plugin {name} used its {limit} s of CPU time without an answer. Raise plugins.cpu_s, or fix the plugin."""

    status, code = 500, "plugin_cpu"


class PluginReturnedNonsense(KairosError):
    """The plugin {name} returned no valid answer: {reason}. Fix the plugin."""

    status, code = 500, "plugin_returned_nonsense"


class PluginRefused(KairosError):
    """{name}: {reason}"""

    status, code, exit_code = 422, "plugin_refused", 1


class PluginRefusedForNow(PluginRefused):
    """{name}: {reason}"""

    code = "plugin_refused_for_now"
    retryable = True


class PluginSetAside(KairosError):
    """The plugin {name} failed {failures} times in a row and is disabled until {at:%H:%M:%S} (UTC). Last failure:
    {reason}"""

    status, code = 503, "plugin_set_aside"
    retryable = True


class PluginMisconfigured(KairosError):
    """The configuration of the plugin {name} is not valid: {reason}. Correct it in plugins.settings or in the project's
    settings."""

    status, code, exit_code = 422, "plugin_misconfigured", 2


class PluginCallInvalid(KairosError):
    """The plugin {name} called context.{method} with invalid arguments: {reason}"""

    status, code = 500, "plugin_call_invalid"


class PluginOver(KairosError):
    """The task of this context has ended: {name} can no longer call context.{method}."""

    status, code = 409, "plugin_over"


class StorageFull(KairosError):
    """The storage of the plugin {name} is full: {reason}. Delete values that are not needed."""

    status, code = 507, "plugin_storage_full"
