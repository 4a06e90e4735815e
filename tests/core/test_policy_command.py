"""`butie policy`, as an operator runs it."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from service.cli.policy import app
from service.core.assumptions import assumptions
from service.policies import SHIPPED, read_book

ALL = assumptions(read_book("330402"))


def run(*arguments: str, **settings: str) -> Result:
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "100", **settings})


def test_show_lists_every_category_with_what_it_gets_and_on_what_basis() -> None:
    shown = run("show", "--on", "2025-06-18")
    assert shown.exit_code == 0
    for category in read_book("330402").policies[0].categories.values():
        assert category.zh in shown.stdout and category.id in shown.stdout
    for text in (
        "3 a year A2",
        "grade 1: 20 % S1",
        "rounding to the fen: down ?",
        "南政发〔2025〕8号",
    ):
        assert text in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 100


def test_show_has_the_rules_of_the_day_asked_for() -> None:
    shown = run("show", "--on", "2026-02-01")
    assert "national-2026" in shown.stdout and "dishwasher" not in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "settings", "sentence"),
    [
        (["show", "--on", "tomorrow"], {}, "tomorrow is not a day"),
        (["show", "--on", "2019-01-01"], {}, "No policy is in force in 330402 on 2019-01-01."),
        (["show"], {"BUTIE_JURISDICTION": "Nanhu"}, "BUTIE_JURISDICTION"),
        (["show"], {"BUTIE_POLICIES_DIR": "/nowhere"}, "/nowhere cannot be read"),
        (["assumptions"], {"BUTIE_CONFIRMATIONS": "/nowhere"}, "cannot be read"),
        (["assumptions"], {"BUTIE_JURISDICTION": "330411"}, "330411"),
    ],
)
def test_a_mistake_is_told_in_a_sentence_and_ends_with_2(
    arguments: list[str], settings: dict[str, str], sentence: str
) -> None:
    told = run(*arguments, **settings)
    assert told.exit_code == 2
    assert sentence in told.stderr and "Traceback" not in told.output


def test_a_faulty_policy_file_is_told_with_its_line(tmp_path: Path) -> None:
    text = (SHIPPED / "nanhu-2025.yaml").read_text(encoding="utf-8")
    (tmp_path / "mine.yaml").write_text("colour: red\n" + text, encoding="utf-8")
    told = run("show", BUTIE_POLICIES_DIR=str(tmp_path))
    assert told.exit_code == 2
    assert told.stderr.startswith("mine.yaml:1: colour: ")


def test_assumptions_are_listed_with_what_is_not_known() -> None:
    listed = run("assumptions", COLUMNS="200")
    assert listed.exit_code == 0
    assert all(one.id in listed.stdout for one in ALL)
    assert f"{len(ALL)} of {len(ALL)} are not confirmed." in listed.stdout


def test_the_printed_lines_confirm_what_they_name(tmp_path: Path) -> None:
    confirmations = tmp_path / "confirmed.txt"
    lines = run("assumptions", "--lines").stdout
    confirmations.write_text(lines, encoding="utf-8")
    listed = run("assumptions", BUTIE_CONFIRMATIONS=str(confirmations))
    assert f"0 of {len(ALL)} are not confirmed." in listed.stdout
    assert run("assumptions", "--lines", BUTIE_CONFIRMATIONS=str(confirmations)).stdout == ""


def test_a_confirmation_that_confirms_nothing_is_told_with_its_line(tmp_path: Path) -> None:
    confirmations = tmp_path / "confirmed.txt"
    confirmations.write_text("nanhu-2025/rounding = down\nnonsense\n", encoding="utf-8")
    told = run("assumptions", BUTIE_CONFIRMATIONS=str(confirmations))
    assert told.exit_code == 2
    assert told.stderr.startswith(f"{confirmations}:2: ")
