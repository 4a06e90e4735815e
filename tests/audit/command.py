"""`butie audit`, in this process."""

import asyncio

from click.testing import Result
from typer.testing import CliRunner

from service.cli.commands import app
from tests.conftest import House


async def audit(house: House, *options: str) -> Result:
    environment = {
        "BUTIE_DATABASE_URL": str(house.settings.database_url),
        "BUTIE_REDIS_URL": str(house.settings.redis_url),
    }
    return await asyncio.to_thread(CliRunner().invoke, app, ["audit", *options], env=environment)
