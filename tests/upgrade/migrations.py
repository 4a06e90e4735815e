"""The migrations, as alembic finds them."""

from alembic.config import Config
from alembic.script import Script, ScriptDirectory

from service.db.engine import MIGRATIONS


def chain() -> list[Script]:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return list(reversed(list(ScriptDirectory.from_config(config).walk_revisions())))
