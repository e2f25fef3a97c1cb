"""Names of the built-in agents."""

BUILT_IN = ("ExecutionAgent", "GuardianAgent", "TrainingAgent")
"""Plugins cannot use these names."""
