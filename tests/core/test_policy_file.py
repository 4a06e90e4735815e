"""The strict reader: each fault is refused with file, line and reason."""

import pytest

from service.core.policy_file import PolicyFileError, parse_book, parse_policy

SMALL = """\
id: small-2025
zh: 小样
en: Small
jurisdiction: "330402"
sources:
  doc: {name: 文件, number: 一号}
in_force:
  from_on: {value: 2025-01-01, basis: stated, source: doc}
  to_on: {value: 2025-12-31, basis: stated, source: doc}
rounding: {value: down, basis: assumed, note: 未查到}
refund_restores_quota: {value: true, basis: assumed, note: 未查到}
funding:
  centre_bp: {value: 8500, basis: adopted, source: doc}
  province_bp: {value: 500, basis: adopted, source: doc}
  city_bp: {value: 500, basis: adopted, source: doc}
  district_bp: {value: 500, basis: adopted, source: doc}
schemes:
  digital:
    zh: 数码
    en: Digital
    from_on: {value: 2025-01-20, basis: adopted, source: doc}
    rate_bp: {value: 1500, basis: stated, source: doc}
    cap_fen: {value: 50000, basis: stated, source: doc}
    quota:
      limit: {value: 1, basis: adopted, source: doc}
    groups:
      named:
        covered: {value: true, basis: stated, source: doc}
        categories:
          phone: {zh: 手机, en: Phone}
          tablet: {zh: 平板, en: Tablet}
  cars:
    zh: 汽车
    en: Cars
    quota:
      limit: {value: 1, basis: adopted, source: doc}
    groups:
      named:
        covered: {value: true, basis: stated, source: doc}
        categories:
          fuel_car:
            zh: 燃油车
            en: Fuel car
            tiers:
              - from_fen: {value: 5000000, basis: adopted, source: doc}
                sum_fen: {value: 800000, basis: adopted, source: doc}
              - from_fen: {value: 10000000, basis: adopted, source: doc}
                sum_fen: {value: 1000000, basis: adopted, source: doc}
"""

CAP = "    cap_fen: {value: 50000, basis: stated, source: doc}\n"
RATE = "    rate_bp: {value: 1500, basis: stated, source: doc}\n"
PHONE = "          phone: {zh: 手机, en: Phone}\n"


def problems(text: str) -> tuple[str, ...]:
    with pytest.raises(PolicyFileError) as refused:
        parse_policy(text, "small.yaml")
    assert str(refused.value) == "\n".join(refused.value.problems)
    return refused.value.problems


def changed(old: str, new: str) -> str:
    assert SMALL.count(old) == 1, f"{old!r} must stand once in the sample"
    return SMALL.replace(old, new)


def test_the_sample_itself_is_read() -> None:
    policy = parse_policy(SMALL, "small.yaml")
    assert list(policy.categories) == ["phone", "tablet", "fuel_car"]
    assert policy.categories["phone"].cap_fen == policy.categories["tablet"].cap_fen


@pytest.mark.parametrize(
    ("old", "new", "line", "reason"),
    [
        ("en: Small\n", "en: Small\nname: x\n", 4, "name: Extra inputs are not permitted"),
        ("cap_fen: {value", "cap_fn: {value", 23, "cap_fn: Extra inputs"),
        ("value: 50000,", "value: 50000, unit: fen,", 23, "unit: Extra inputs"),
        ("value: 50000,", "value: 50000, id: x,", 23, "id: Extra inputs"),
        ("  digital:", "  Digital:", 18, "Digital"),
        ("en: Small\n", "en: Small\nen: Tiny\n", 4, "en stands here twice"),
        (CAP, CAP + CAP, 24, "cap_fen stands here twice"),
        ("value: 50000, basis: stated, source: doc", "value: 50000, basis: stated", 23, "source"),
        ("value: 50000,", "value: 50000, value: 5,", 23, "value stands here twice"),
        ("value: 50000, basis: stated, source: doc", "value: 50000, basis: stated, source: d", 23,
         "d is not one of the sources"),
        ("value: 50000, basis: stated", "value: 50000, basis: guessed", 23, "basis: Input should"),
        ("{value: down, basis: assumed, note: 未查到}", "{value: down, basis: assumed}", 10,
         "a note of what"),
        ("down, basis: assumed,", "down, basis: assumed, source: doc,", 10, "no source"),
        ("value: 50000, basis: stated, ", "basis: stated, ", 23, "value: Field required"),
        ("value: 1500", "value: 10001", 22, "less than or equal to 10000"),
        ("value: 1500", "value: 0", 22, "greater than 0"),
        ("value: 1500", "value: -1500", 22, "greater than 0"),
        ("value: 1500", 'value: "1500"', 22, "valid integer"),
        ("value: 1500", "value: true", 22, "valid integer"),
        ("value: 1500", "value: 15.0", 22, "15.0: only whole numbers"),
        ("value: 1500", "value: .inf", 22, "only whole numbers"),
        ("value: 1500", "value: 01500", 22, "01500: write a text, a whole number"),
        ("value: 1500", "value: 25:00", 22, "25:00: write"),
        ("value: 1500", "value: 1e3", 22, "valid integer"),
        ("value: 1500", "value:", 22, "a value is missing"),
        ("value: 2025-01-20", "value: 2025-02-30", 21, "day"),
        ("value: 2025-01-20", "value: 2025-01-20 10:00:00", 21, "write a text"),
        ("value: 2025-01-20", 'value: "2025-01-20"', 21, "valid date"),
        ("value: 2025-01-20", "value: 2024-12-31", 21, "before the policy is in force"),
        ("value: 2025-01-20", "value: 2026-01-20", 21, "is after to_on"),
        ("en: Digital\n", "en: Digital\n    to_on: "
         "{value: 2026-01-20, basis: stated, source: doc}\n", 21, "is after the policy has ended"),
        ("en: Digital\n", "en: Digital\n    trade_in: {kind: e_bike, owned_before_on: "
         "{value: 2025-01-08, basis: stated, source: doc}}\n", 21, "is for cars"),
        ("value: 2025-01-01", "value: 2026-01-01", 8, "is after to_on"),
        ("value: true, basis: assumed", "value: yes, basis: assumed", 11, "yes: write"),
        ("value: down", "value: up", 10, "Input should be 'down' or 'half_up'"),
        ("value: 8500", "value: 8000", 12, "the shares make 9500, not 10000"),
        ("value: 10000000,", "value: 5000000,", 47, "out of order"),
        ("value: 1000000,", "value: 10000001,", 48, "more than the lowest price"),
        ('"330402"', "330402", 4, "valid string"),
        ("id: small-2025", "id: Small 2025", 1, "match pattern"),
        (RATE, "", 30, "needs either a rate"),
        (CAP, "", 30, "a rate needs a cap_fen"),
        ("    zh: 数码\n", "    zh: 数码\n    quotas: 1\n", 20, "quotas: Extra inputs"),
        ("en: Cars\n    quota:\n      limit: {value: 1, basis: adopted, source: doc}\n",
         "en: Cars\n", 39, "needs a quota"),
        ("en: Digital\n", "en: Digital\n    trade_in: {kind: bus}\n", 21, "'car' or 'e_bike'"),
        (PHONE, PHONE.replace("phone", "fuel_car"), 41, "stands in the file twice"),
        (PHONE, PHONE.replace("phone", "1"), 30, "a number needs quotes"),
        (PHONE, PHONE.replace("手机", "&name 手机"), 30, "anchors and aliases"),
        (PHONE, PHONE.replace("手机", "!!python/name:os 手机"), 30, "write a text"),
        (PHONE, PHONE.replace("}", ""), 31, "not YAML"),
        (PHONE, PHONE.replace("手机", "手\x07机"), 30, "not YAML: a character"),
    ],
)  # fmt: skip
def test_a_fault_is_refused_with_file_line_and_reason(
    old: str, new: str, line: int, reason: str
) -> None:
    found = problems(changed(old, new))
    at_the_line = [text for text in found if text.startswith(f"small.yaml:{line}: ")]
    assert any(reason in text for text in at_the_line), found


def test_every_fault_is_reported_and_each_of_them_once() -> None:
    text = changed("value: 2025-01-20", "value: 2024-12-31").replace("value: 8500", "value: 8400")
    assert problems(text) == (
        "small.yaml:12: funding: the shares make 9900, not 10000",
        "small.yaml:21: schemes.digital.from_on: is before the policy is in force",
    )


def test_a_fault_that_is_hidden_by_a_narrower_value_is_reported_too() -> None:
    text = changed(PHONE, PHONE.replace("}", ", cap_fen: {value: 1, basis: stated, source: doc}}"))
    assert len(problems(text.replace("value: 50000", "value: 0"))) == 1


def test_an_empty_file_is_refused() -> None:
    assert problems("# nothing\n") == ("small.yaml:1: the file is empty",)


def test_two_documents_in_one_file_are_refused() -> None:
    assert "not YAML" in problems(SMALL + "---\n" + SMALL)[0]


def test_a_quota_in_money_says_what_becomes_of_a_line_that_would_pass_it() -> None:
    limit = "      limit: {value: 1, basis: adopted, source: doc}\n"
    (found,) = problems(SMALL.replace(limit, "      unit: fen\n" + limit, 1))
    assert found.startswith("small.yaml:26: ") and "needs over_limit" in found


def next_year(text: str) -> str:
    return text.replace("small-2025", "small-2026").replace("2025-", "2026-")


def test_a_book_orders_its_policies_by_date() -> None:
    book = parse_book("330402", {"b.yaml": next_year(SMALL), "c.yaml": SMALL})
    assert [policy.id for policy in book.policies] == ["small-2025", "small-2026"]


def test_policies_that_overlap_are_refused() -> None:
    late = next_year(SMALL).replace("2026-01-01", "2025-12-31")
    with pytest.raises(PolicyFileError) as refused:
        parse_book("330402", {"a.yaml": SMALL, "b.yaml": late})
    assert refused.value.problems == (
        "b.yaml:8: small-2025 is in force until 2025-12-31; policies must not overlap",
    )


def test_two_policies_of_one_id_are_refused() -> None:
    late = next_year(SMALL).replace("small-2026", "small-2025")
    with pytest.raises(PolicyFileError, match=r"b\.yaml:1: another policy is small-2025 too"):
        parse_book("330402", {"a.yaml": SMALL, "b.yaml": late})


def test_faults_of_several_files_are_reported_together() -> None:
    with pytest.raises(PolicyFileError) as refused:
        parse_book("330402", {"a.yaml": SMALL + "x: 1\n", "b.yaml": SMALL + "y: 1\n"})
    assert [problem.split(":")[0] for problem in refused.value.problems] == ["a.yaml", "b.yaml"]


def test_a_policy_of_another_jurisdiction_is_read_and_left_out() -> None:
    elsewhere = SMALL.replace("330402", "330411").replace("small-2025", "elsewhere")
    book = parse_book("330402", {"a.yaml": SMALL, "b.yaml": elsewhere})
    assert [policy.id for policy in book.policies] == ["small-2025"]


def test_a_jurisdiction_without_a_policy_is_refused() -> None:
    with pytest.raises(PolicyFileError, match="330499"):
        parse_book("330499", {"a.yaml": SMALL})
