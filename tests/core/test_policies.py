"""The shipped policies."""

import re
from datetime import date
from pathlib import Path

import pytest

from service.core.policy import Policy, PolicyBook, facts_of
from service.core.policy_file import PolicyFileError, parse_book
from service.policies import SHIPPED, read_book

BOOK = read_book("330402")
POLICIES = pytest.mark.parametrize("policy", BOOK.policies, ids=lambda policy: policy.id)


def test_both_policies_are_read_in_order() -> None:
    assert [policy.id for policy in BOOK.policies] == ["nanhu-2025", "national-2026"]


@pytest.mark.parametrize(
    ("day", "policy_id"),
    [
        (date(2024, 12, 31), None),
        (date(2025, 1, 1), "nanhu-2025"),
        (date(2025, 12, 31), "nanhu-2025"),
        (date(2026, 1, 1), "national-2026"),
        (date(2026, 12, 31), "national-2026"),
        (date(2027, 1, 1), None),
    ],
)
def test_a_day_has_the_policy_in_force(day: date, policy_id: str | None) -> None:
    policy = BOOK.on(day)
    assert (policy.id if policy else None) == policy_id


def test_a_claims_policy_is_found_by_its_id_after_it_has_ended() -> None:
    assert BOOK.get("nanhu-2025") is BOOK.policies[0]
    assert BOOK.get("nanhu-2019") is None


def test_a_book_refuses_policies_that_overlap_or_are_out_of_order() -> None:
    with pytest.raises(ValueError, match="overlap or are out of order"):
        PolicyBook("330402", BOOK.policies[::-1])


def test_24_categories_of_appliances_are_covered_in_2025_and_6_in_2026() -> None:
    counts = [len(policy.schemes["appliances"].categories) for policy in BOOK.policies]
    assert counts == [24, 6]


def test_the_schemes_of_2026_leave_out_home_goods_e_bikes_and_the_elderly() -> None:
    assert set(BOOK.policies[0].schemes) - set(BOOK.policies[1].schemes) == {
        "home",
        "ebike",
        "elderly",
    }


@POLICIES
def test_every_value_has_a_basis_and_a_source_or_a_note(policy: Policy) -> None:
    facts = list(facts_of(policy))
    assert len({fact.id for fact in facts}) > 20
    for fact in facts:
        assert (fact.basis == "assumed") == (fact.source is None)
        assert fact.note if fact.basis == "assumed" else fact.source in policy.sources


@POLICIES
def test_no_number_stands_outside_a_fact(policy: Policy) -> None:
    for category in policy.categories.values():
        bare = {name: value for name, value in category if not list(facts_of(value))}
        assert not re.search(r"\b\d", str(bare)), bare


@POLICIES
def test_sources_are_documents_and_never_addresses(policy: Policy) -> None:
    for source in policy.sources.values():
        assert not re.search(r"https?:|www\.", f"{source.name} {source.number}")


@POLICIES
def test_every_source_is_cited(policy: Policy) -> None:
    assert {fact.source for fact in facts_of(policy)} - {None} == policy.sources.keys()


def test_the_founding_document_alone_is_cited_as_stated() -> None:
    facts = (fact for policy in BOOK.policies for fact in facts_of(policy))
    assert {fact.source for fact in facts if fact.basis == "stated"} == {"nanhu-2025-8"}


def test_a_folder_of_ones_own_takes_the_place_of_the_shipped_files(tmp_path: Path) -> None:
    text = (SHIPPED / "nanhu-2025.yaml").read_text(encoding="utf-8")
    (tmp_path / "mine.yml").write_text(text.replace("nanhu-2025\n", "mine\n", 1), encoding="utf-8")
    (tmp_path / "notes.txt").write_text("not a policy", encoding="utf-8")
    assert [policy.id for policy in read_book("330402", tmp_path).policies] == ["mine"]


def test_a_folder_that_is_not_there_or_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyFileError, match="cannot be read"):
        read_book("330402", tmp_path / "away")
    (tmp_path / "bad.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(PolicyFileError, match="cannot be read"):
        read_book("330402", tmp_path)


def test_a_category_says_what_its_serial_numbers_are() -> None:
    formats = BOOK.serial_formats
    assert {name for name, wanted in formats.items() if wanted == "vin"} == {
        "new_energy_car",
        "fuel_car",
    }
    assert formats["air_conditioner"] == formats["e_bike"] == "any"


def test_an_older_policy_file_without_the_word_still_asks_for_a_vin_where_an_old_car_comes_in() -> (
    None
):
    text = (SHIPPED / "nanhu-2025.yaml").read_text(encoding="utf-8")
    bare = "\n".join(line for line in text.splitlines() if "serial: vin #" not in line)
    assert bare != text
    assert parse_book("330402", {"bare.yaml": bare}).serial_formats["fuel_car"] == "vin"
