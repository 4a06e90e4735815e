"""No float, no clock and no chance in the core: its answers are exact and repeatable."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

CORE = Path(__file__).parents[2] / "service" / "core"
MODULES = sorted(CORE.glob("*.py"))
IMPURE = {"random", "secrets", "time", "os", "io", "pathlib", "socket", "zoneinfo", "math"}


def inexact(tree: ast.AST) -> Iterator[int]:
    """The lines on which a float could come into being."""
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=float()) | ast.Constant(value=complex()):
                yield node.lineno
            case ast.BinOp(op=ast.Div()) | ast.AugAssign(op=ast.Div()):
                yield node.lineno
            case ast.Name(id="float"):
                yield node.lineno


def impure(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (name.name for name in names if name.name.split(".")[0] in IMPURE)
            case ast.ImportFrom(module=str(module)):
                root, _, rest = module.partition(".")
                if root in IMPURE or (root == "service" and not rest.startswith("core")):
                    yield module
            case ast.Attribute(attr="now" | "utcnow" | "today"):
                yield f"a clock, line {node.lineno}"


def test_the_walk_sees_what_it_looks_for() -> None:
    assert len(list(inexact(ast.parse("a / 2\na /= 2\n0.5\nfloat(a)\na // 2")))) == 4
    assert list(impure(ast.parse("import random\nfrom service.db import engine\nd.now()"))) == [
        "random",
        "service.db",
        "a clock, line 3",
    ]


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_no_float_can_arise_in_the_core(module: Path) -> None:
    assert list(inexact(ast.parse(module.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_the_core_looks_at_nothing_but_its_arguments(module: Path) -> None:
    assert list(impure(ast.parse(module.read_text(encoding="utf-8")))) == []
