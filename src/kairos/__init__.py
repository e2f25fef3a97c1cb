"""Kairos: tasks, agents, a router that measures, a guardian that checks, and a loop that learns."""

__version__ = "0.1.0"
