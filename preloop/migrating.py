"""Alembic: a database is brought to the newest version over a connection that somebody else opened and commits."""

from alembic import command
from alembic.config import Config
from sqlalchemy.engine import Connection

from preloop.database import MIGRATIONS


def migrate(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
