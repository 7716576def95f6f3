"""Alembic's environment; `up` runs it before anything is served."""
