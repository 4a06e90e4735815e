"""The source of the routes: what they share is written in one place."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

API = Path(__file__).parents[2] / "service" / "api"
ROUTES = sorted((API / "routes").glob("*.py"))


def calls(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id


def classes(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ClassDef):
            yield node.name


@pytest.mark.parametrize(
    ("name", "home"),
    [("allowed", "auth.py"), ("HTTPBearer", "auth.py"), ("Header", "idempotency.py")],
)
def test_a_scope_and_the_key_header_are_declared_in_one_file(name: str, home: str) -> None:
    assert [file.name for file in API.rglob("*.py") if name in calls(file)] == [home]


def test_no_route_reads_a_uuid_or_a_body_by_itself() -> None:
    """`path_uuid` answers 404 and `json_body` names the field; a second reading would differ."""
    for file in ROUTES:
        assert "UUID" not in set(calls(file)), file.name
        bodies = {"model_validate_json"} & set(_methods(file))
        assert not bodies or file.name == "batch.py", file.name  # reads each claim by itself


def test_there_is_one_strict_model() -> None:
    assert [file.name for file in API.rglob("*.py") if "Strict" in classes(file)] == []


def test_the_two_ways_to_a_route_read_a_request_with_the_same_functions() -> None:
    """POST /v1/claims does without FastAPI's stack; its dependencies are called directly."""
    called = set(calls(API / "routes" / "claims.py"))
    assert {"may_claim", "idempotency_key", "read_checkout"} <= called


def _methods(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Attribute):
            yield node.attr
