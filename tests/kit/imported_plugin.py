"""A plugin as an installed package has one."""

from __future__ import annotations

from kairos.plugins.base_plugin import BasePlugin, PluginTask

TEXT = "no plugin"


class Imported(BasePlugin):
    """Says how long the prompt is."""

    def get_name(self) -> str:
        return "Imported"

    def get_capabilities(self) -> list[str]:
        return ["count"]

    def execute(self, task: PluginTask) -> str:
        return str(len(task.prompt))
