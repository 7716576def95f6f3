"""Alembic: a database is brought to a version over a connection that somebody else opened and commits. What was done is
written down with its phase, for older versions that meet it."""

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.engine import Connection

from control.tables import schema_steps
from kit.db import Tx
from preloop.steps import Steps, version


def migrate(connection: Connection, steps: Steps | None = None, to: str | None = None) -> None:
    steps = steps or Steps()
    done = [step for step in steps.after(version(connection)) if to is None or step.number <= to]
    config = Config()
    config.set_main_option("script_location", str(steps.folder))
    config.attributes["connection"] = connection
    command.upgrade(config, to or "head")
    if done and sa.inspect(connection).has_table("schema_steps"):
        now = Tx(connection).now()
        rows = [{"number": step.number, "phase": step.phase, "at": now} for step in done]
        connection.execute(sa.insert(schema_steps), rows)
