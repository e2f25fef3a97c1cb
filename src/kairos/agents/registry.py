"""The agents that live in this daemon, by name and by capability."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from kairos.agents.base import Agent
from kairos.errors import KairosError


class UnknownAgent(KairosError):
    """No agent is named {name!r} or has that capability. {remedy}"""

    status, code, exit_code = 422, "unknown_agent", 2


class NameTaken(KairosError):
    """An agent named {name!r} is registered already. Give the new one another name."""

    status, code = 409, "agent_name_taken"


class AgentRegistry:
    """Agents come in by `register`, the built-in ones like any other."""

    def __init__(self) -> None:
        self._agents: dict[str, Agent] = {}

    def __iter__(self) -> Iterator[Agent]:
        return iter(self._agents.values())

    def register(self, agent: Agent) -> None:
        if agent.name in self._agents:
            raise NameTaken(name=agent.name)
        self._agents[agent.name] = agent

    def find(self, wanted: str) -> Agent:
        """The agent of that name, else the first registered that has the capability. Raises `UnknownAgent`."""
        if agent := self._agents.get(wanted):
            return agent
        for agent in self._agents.values():
            if wanted in agent.capabilities:
                return agent
        raise UnknownAgent(name=wanted, remedy=self._remedy(wanted))

    def _remedy(self, wanted: str) -> str:
        names = list(self._agents)
        near = difflib.get_close_matches(wanted, names, n=1, cutoff=0.5)
        return f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(names)}"
