"""Kairos: a task queue with agents, a measuring model router, a guardian that checks answers, and fine-tuning."""

__version__ = "0.1.0"
