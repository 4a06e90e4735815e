"""What a server's process leaves out of its libraries, and that it serves the same."""

import json
import multiprocessing
import subprocess
import sys

LEAVE_OUT = "from service.server.unused import leave_out; leave_out()\n"
SETTINGS = {
    "BUTIE_DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none",
    "BUTIE_REDIS_URL": "redis://127.0.0.1:9",
    "BUTIE_PII_KEY": "k" * 40,
}


def shown(program: str) -> object:
    """The JSON that a new process prints."""
    head = f"import json, os, sys; os.environ |= {SETTINGS!r}\n"
    printed = subprocess.check_output([sys.executable, "-c", head + program])
    return json.loads(printed)


def test_a_server_loads_no_library_that_it_does_not_use() -> None:
    loaded = shown(
        f"{LEAVE_OUT}import service.cli.serve, service.api.app\n"
        "print(json.dumps([name for name, module in sys.modules.items() if module]))"
    )
    assert isinstance(loaded, list)
    unused = {
        *("rich", "typer", "click", "pygments", "jinja2", "sqlite3", "alembic", "openpyxl"),
        *("pyarrow", "reportlab", "sqlalchemy.orm", "opentelemetry.sdk", "xlsxwriter"),
    }
    assert unused & set(loaded) == set()
    replay = {name for name in loaded if name.startswith("service.replay.")}
    assert replay <= {"service.replay.faults"}
    assert not [name for name in loaded if name.split(".")[0] == "multiprocessing"]


def test_a_worker_leaves_out_what_its_server_does() -> None:
    """A worker is a process that multiprocessing spawns. To unpickle its server's configuration it
    loads uvicorn, and it must have left modules out before."""
    program = (
        "import runpy, types\n"
        "from tests.server.test_unused import spawns_a_worker\n"
        "sys.argv = ['butie', 'serve']\n"
        "sys.modules['service.cli.serve'] = types.ModuleType('service.cli.serve')\n"
        "sys.modules['service.cli.serve'].serve = spawns_a_worker\n"
        "runpy.run_module('service', run_name='__main__', alter_sys=True)"
    )
    loaded = shown(program)
    assert isinstance(loaded, list)
    assert {"uvicorn", "sqlalchemy", "redis"} <= set(loaded)
    assert {"click", "rich", "sqlalchemy.orm", "pydantic.v1.fields"} & set(loaded) == set()


def spawns_a_worker() -> None:
    """The command `serve` of the test's process."""
    from uvicorn.config import Config

    worker = multiprocessing.get_context("spawn").Process(
        target=_print_loaded, args=(Config("service.server.run:worker_app", log_config=None),)
    )
    worker.start()
    worker.join()


def _print_loaded(config: object) -> None:
    import service.api.app  # noqa: F401

    print(json.dumps([name for name, module in sys.modules.items() if module]))


def test_the_api_document_is_the_same_with_whole_libraries() -> None:
    document = (
        "from service.api.app import create_app\n"
        "print(json.dumps(create_app().openapi(), sort_keys=True))"
    )
    assert shown(LEAVE_OUT + document) == shown(document)


def test_what_is_left_out_can_be_loaded_when_it_is_needed() -> None:
    program = (
        f"{LEAVE_OUT}import sqlalchemy.ext.asyncio, rich.console, sqlalchemy.orm\n"
        "from sqlalchemy.ext.asyncio import AsyncSession\n"
        "try: AsyncSession()\n"
        "except RuntimeError as error: print(json.dumps(str(error)))"
    )
    assert shown(program) == (
        "sqlalchemy.ext.asyncio.session.AsyncSession is left out of a server's process."
    )
