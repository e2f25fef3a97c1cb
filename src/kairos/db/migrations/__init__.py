"""Alembic migrations, run by `kairos migrate` and at start (`db/schema.py`)."""
