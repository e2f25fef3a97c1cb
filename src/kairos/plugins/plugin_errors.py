"""What can go wrong with a plugin, each with words for whoever has to mend it."""

from __future__ import annotations

from kairos.errors import KairosError


class PluginCrashed(KairosError):
    """The plugin {name} failed: {reason}. Its author must mend it; the daemon's log has the trace."""

    status, code = 500, "plugin_crashed"


class PluginDied(KairosError):
    """The process of the plugin {name} ended before its answer: {reason}. The daemon's log has its last words."""

    status, code = 500, "plugin_died"


class PluginMemory(KairosError):
    """The plugin {name} needs more than the {limit} MB of memory that it gets. Raise plugins.memory_mb, or mend it."""

    status, code = 500, "plugin_memory"


class PluginCpu(KairosError):
    """The plugin {name} used its {limit} s of CPU time without an answer. Raise plugins.cpu_s, or mend it."""

    status, code = 500, "plugin_cpu"


class PluginReturnedNonsense(KairosError):
    """The plugin {name} gave no answer: {reason}. Its author must mend it."""

    status, code = 500, "plugin_returned_nonsense"


class PluginRefused(KairosError):
    """{name}: {reason}"""

    status, code, exit_code = 422, "plugin_refused", 1


class PluginRefusedForNow(PluginRefused):
    """{name}: {reason}"""

    code = "plugin_refused_for_now"
    retryable = True


class PluginSetAside(KairosError):
    """The plugin {name} failed {failures} times in a row and is set aside until {at:%H:%M:%S} (UTC). The last time:
    {reason}"""

    status, code = 503, "plugin_set_aside"
    retryable = True


class PluginMisconfigured(KairosError):
    """The configuration of the plugin {name} is not valid: {reason}. Correct it under plugins.settings, or in the
    project's settings."""

    status, code, exit_code = 422, "plugin_misconfigured", 2


class PluginCallInvalid(KairosError):
    """The plugin {name} called context.{method} wrongly: {reason}"""

    status, code = 500, "plugin_call_invalid"


class PluginOver(KairosError):
    """The task that this context belongs to has ended: {name} can call context.{method} no more."""

    status, code = 409, "plugin_over"


class StorageFull(KairosError):
    """The storage of the plugin {name} takes no more: {reason}. It has to delete what it does not need."""

    status, code = 507, "plugin_storage_full"
