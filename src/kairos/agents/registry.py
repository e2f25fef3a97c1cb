"""The agents that live in this daemon, by name and by capability."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from kairos.agents.base import Agent
from kairos.errors import KairosError, did_you_mean


class UnknownAgent(KairosError):
    """No agent is named {name!r} or has that capability. {remedy}"""

    status, code, exit_code = 422, "unknown_agent", 2


class AgentDisabled(KairosError):
    """This project has disabled {names}, which {name!r} asks for. An admin can enable it in the project's settings."""

    status, code, exit_code = 409, "agent_disabled", 5


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

    def withdraw(self, agent: Agent) -> None:
        """Take it out, if it is the one of its name: new tasks no longer find it, running ones go on."""
        if self._agents.get(agent.name) is agent:
            del self._agents[agent.name]

    def find(self, wanted: str, disabled: Collection[str] = ()) -> Agent:
        """The agent of that name, else the first registered that has the capability and is not disabled.

        Raises `AgentDisabled`, `UnknownAgent`.
        """
        named = self._agents.get(wanted)
        able = [named] if named else [agent for agent in self._agents.values() if wanted in agent.capabilities]
        for agent in able:
            if agent.name not in disabled:
                return agent
        if able:
            raise AgentDisabled(name=wanted, names=", ".join(agent.name for agent in able))
        raise UnknownAgent(name=wanted, remedy=self._remedy(wanted))

    def _remedy(self, wanted: str) -> str:
        return did_you_mean(wanted, self._agents) or f"There are: {', '.join(self._agents)}"
