"""A plugin as an installed package contains it."""

from __future__ import annotations

from kairos.plugins.base_plugin import BasePlugin, PluginTask

TEXT = "no plugin"


class Imported(BasePlugin):
    """Returns the length of the prompt."""

    def get_name(self) -> str:
        return "Imported"

    def get_capabilities(self) -> list[str]:
        return ["count"]

    def execute(self, task: PluginTask) -> str:
        return str(len(task.prompt))
