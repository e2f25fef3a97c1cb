"""The agents of this daemon, by name and by capability."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from kairos.agents.base import Agent
from kairos.errors import KairosError, did_you_mean


class UnknownAgent(KairosError):
    """No agent has the name or capability {name!r}. {remedy}"""

    status, code, exit_code = 422, "unknown_agent", 2


class AgentDisabled(KairosError):
    """This project has disabled {names}, requested as {name!r}. An admin can enable it in the project's settings."""

    status, code, exit_code = 409, "agent_disabled", 5


class NameTaken(KairosError):
    """An agent named {name!r} is already registered. Choose another name."""

    status, code = 409, "agent_name_taken"


class AgentRegistry:
    """Registered agents, built-in ones and plugins alike."""

    def __init__(self) -> None:
        self._agents: dict[str, Agent] = {}

    def __iter__(self) -> Iterator[Agent]:
        return iter(self._agents.values())

    def register(self, agent: Agent) -> None:
        if agent.name in self._agents:
            raise NameTaken(name=agent.name)
        self._agents[agent.name] = agent

    def withdraw(self, agent: Agent) -> None:
        """Remove the agent if it is the one registered under its name. Running tasks continue."""
        if self._agents.get(agent.name) is agent:
            del self._agents[agent.name]

    def find(self, wanted: str, disabled: Collection[str] = ()) -> Agent:
        """Return the agent of that name, else the first registered one that has the capability and is not disabled.

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
        return did_you_mean(wanted, self._agents) or f"Available agents: {', '.join(self._agents)}"
