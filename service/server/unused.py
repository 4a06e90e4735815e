"""Parts of libraries that their packages load and that a server never uses.

A worker would hold them in memory as long as it serves: together a sixth of all that it has. A
process that serves loads its libraries without them; the commands and the tests load them whole.
"""

import importlib
import sys
from types import ModuleType

# Libraries that load an optional one when it is installed. They are loaded as if it was not.
# structlog would draw tracebacks with rich, and redis-py report its own metrics by OpenTelemetry.
OPTIONAL = {"structlog": ("rich",), "redis.asyncio": ("opentelemetry.sdk.metrics",)}

# Loaded for the names that their packages offer, and not used here. SQLAlchemy's sessions bring its
# whole ORM, and uvicorn's command line brings click.
UNUSED = {
    "sqlalchemy": ("sqlalchemy.ext.asyncio.session", "sqlalchemy.ext.asyncio.scoping"),
    "redis": ("redis.cluster", "redis.asyncio.cluster"),
    "pydantic": ("pydantic.v1",),
    "uvicorn": ("uvicorn.main",),
}


def leave_out() -> None:
    """Has effect on libraries that this process has not loaded yet."""
    for library, names in UNUSED.items():
        if library not in sys.modules:
            sys.modules.update({name: _LeftOut(name) for name in names})
    for library, optional in OPTIONAL.items():
        if library not in sys.modules:
            _load_without(library, optional)
    if "pydantic" not in sys.modules:
        _build_models_on_first_use()


def _build_models_on_first_use() -> None:
    from pydantic import BaseModel

    BaseModel.model_config["defer_build"] = True


def _load_without(library: str, optional: tuple[str, ...]) -> None:
    absent = [name for name in optional if name not in sys.modules]
    for name in absent:
        sys.modules[name] = None  # type: ignore[assignment]  # an import raises ImportError
    try:
        importlib.import_module(library)
    finally:
        for name in absent:
            del sys.modules[name]


class _LeftOut(ModuleType):
    """Takes a module's place. Each public name in it is a class that cannot be used."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)

        def refuse(*args: object, **named: object) -> None:
            raise RuntimeError(f"{self.__name__}.{name} is left out of a server's process.")

        return type(name, (), {"__init__": refuse})
