"""Parts of libraries that their packages load and that a server never uses.

A worker would hold them in memory as long as it serves: together a fifth of all that it has. A
process that serves loads its libraries without them; the commands and the tests load them whole.
"""

import importlib
import inspect
import sys
from contextlib import suppress
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType

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

# The libraries with most documentation in them. Some of Python's own read theirs when they load.
DOCUMENTED = frozenset(
    ("asyncpg", "fastapi", "opentelemetry", "prometheus_client", "pydantic", "pydantic_core",
     "pydantic_settings", "redis", "sqlalchemy", "starlette", "structlog", "uvicorn", "yaml")
)  # fmt: skip
# Shorter ones are not worth the work. A text of this length in a function's code is its
# documentation, and nothing that it computes with.
DOC_LENGTH_MIN = 100
INSTEAD = "(left out)"  # some libraries add to a text that they have
HAS_DOC = 0x4000000  # a flag of code since Python 3.14


def leave_out() -> None:
    """Has effect on libraries that this process has not loaded yet."""
    sys.meta_path.insert(0, _Undocumented())  # type: ignore[arg-type]
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


class _Undocumented:
    """Finds the modules of DOCUMENTED, as Python does."""

    def find_spec(
        self, name: str, path: list[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] not in DOCUMENTED:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = _UndocumentedLoader(spec.loader.name, spec.loader.path)
        return spec


class _UndocumentedLoader(SourceFileLoader):
    """Loads a module without the long documentation of its functions and classes."""

    def get_code(self, fullname: str) -> CodeType | None:
        code = super().get_code(fullname)
        return None if code is None else undocumented(code)

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        for value in list(vars(module).values()):
            if isinstance(value, type) and value.__module__ == module.__name__:
                with suppress(AttributeError, TypeError):  # a type in C is not ours to change
                    value.__doc__ = INSTEAD if value.__doc__ else None


def undocumented(code: CodeType) -> CodeType:
    """The same code, and the same of the functions in it, without long documentation."""
    constants = code.co_consts
    changed = [
        undocumented(constant) if isinstance(constant, CodeType) else constant
        for constant in constants
    ]
    if _documentation(code):
        changed[0] = INSTEAD
    if all(new is old for new, old in zip(changed, constants, strict=True)):
        return code
    return code.replace(co_consts=tuple(changed))


def _documentation(code: CodeType) -> bool:
    is_function = code.co_flags & inspect.CO_NEWLOCALS and not code.co_name.startswith("<")
    if sys.version_info >= (3, 14):
        is_function = is_function and code.co_flags & HAS_DOC
    first = code.co_consts[0] if code.co_consts else None
    return bool(is_function) and isinstance(first, str) and len(first) > DOC_LENGTH_MIN
