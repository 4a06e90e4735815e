"""Settlements: each entry once, two keys, and a refund counts whenever it comes."""

import asyncio
import csv
import io
import zipfile
from dataclasses import replace
from typing import Any, get_args

import asyncpg
import httpx
import pytest
from python_calamine import CalamineWorkbook

from service.db.acts import ActContext
from service.db.engine import connect
from service.finance.settlements.settlement import SettlementState, WrongSettlementState
from service.finance.settlements.statement import Statement, StatementLine, csv_file, xlsx_file
from service.finance.settlements.wrong_state import SettlementAction
from service.retailers.issue import create_key
from tests.conftest import NOW, House
from tests.finance.books import PERIOD, PLACE, claim_some, invoiced, refund
from tests.finance.statements import SETTLEMENT

pytestmark = pytest.mark.anyio


@pytest.fixture
async def office(house: House) -> House:
    """A house with a second finance key."""
    async with connect(house.service.engine, within_s=20) as connection:
        context = ActContext(connection, PLACE, "test", NOW)
        key = await create_key(context, role="finance", retailer_id=None, label="second")
    house.keys["finance2"] = key.secret
    return house


async def post(house: House, path: str = "", role: str = "finance", **body: Any) -> httpx.Response:
    async with house.client(role) as client:
        return await client.post(f"/v1/settlements{path}", json=body or None)


async def draft(house: House, **more: Any) -> dict[str, Any]:
    answer = await post(house, retailer_id="sandbox", **PERIOD, **more)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def approve(house: House, settlement: dict[str, Any]) -> dict[str, Any]:
    answer = await post(house, f"/{settlement['settlement_id']}/approve", "finance2")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def pay(house: House, settlement: dict[str, Any]) -> dict[str, Any]:
    path = f"/{settlement['settlement_id']}/pay"
    answer = await post(house, path, payment_reference="PAY-1")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def granted(house: House) -> int:
    (row,) = await house.sql("SELECT sum(amount_fen) AS fen FROM journal WHERE kind = 'grant'")
    return int(row["fen"])


async def test_a_draft_has_the_net_of_invoiced_entries_only(office: House) -> None:
    await invoiced(office, 3)
    due = await granted(office)
    await claim_some(office, 1, start=9)  # without an invoice
    drafted = await draft(office)
    assert (drafted["state"], drafted["entries"], drafted["net_fen"]) == ("drafted", 3, due)


async def test_each_entry_is_settled_once(office: House) -> None:
    await invoiced(office, 2)
    drafts = await asyncio.gather(
        *(post(office, retailer_id="sandbox", **PERIOD) for _ in range(3))
    )
    assert sorted(answer.status_code for answer in drafts) == [201, 409, 409]
    refused = next(answer for answer in drafts if answer.status_code == 409)
    assert refused.json()["code"] == "nothing_to_settle"
    rows = await office.sql("SELECT count(*) AS n FROM settlement")
    assert rows[0]["n"] == 1
    with pytest.raises(asyncpg.UniqueViolationError):
        await office.sql("INSERT INTO settled_entry SELECT * FROM settled_entry")
    for change in ("DELETE FROM settled_entry", "UPDATE settled_entry SET amount_fen = 0"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await office.sql(change)


async def test_drafting_and_approving_take_two_keys(office: House) -> None:
    await invoiced(office, 1)
    drafted = await draft(office)
    path = f"/{drafted['settlement_id']}"
    own = await post(office, f"{path}/approve")
    assert (own.status_code, own.json()["code"]) == (409, "same_key")
    early = await post(office, f"{path}/pay", payment_reference="P")
    assert (early.status_code, early.json()["code"]) == (409, "wrong_state")
    assert "请先用另一把财政密钥审核" in early.json()["detail"]
    assert (await approve(office, drafted))["state"] == "approved"
    assert (await approve(office, drafted))["state"] == "approved"  # a repeat is harmless
    paid = await pay(office, drafted)
    assert (paid["state"], paid["payment_reference"]) == ("paid", "PAY-1")
    assert await pay(office, drafted) == paid
    other = await post(office, f"{path}/pay", payment_reference="P-2")
    assert (other.status_code, other.json()["code"]) == (409, "wrong_state")
    assert "付款凭证号与此不同" in other.json()["detail"]
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="as it was approved"):
        await office.sql("UPDATE settlement SET net_fen = 1, granted_fen = 1")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await office.sql("DELETE FROM settlement")
    await invoiced(office, 1, start=9)
    await draft(office)
    with pytest.raises(asyncpg.CheckViolationError):
        await office.sql(
            "UPDATE settlement SET state = 'approved', approved_by = drafted_by,"
            " approved_at = now() WHERE state = 'drafted'"
        )


async def test_a_refund_before_settlement_cancels_out(office: House) -> None:
    first, _ = await invoiced(office, 2)
    due = await granted(office)
    await refund(office, first)
    drafted = await draft(office)
    assert (drafted["entries"], drafted["granted_fen"]) == (3, due)
    assert drafted["net_fen"] == due + drafted["refunded_fen"] < due


async def test_a_refund_while_the_draft_waits_is_netted_at_approval(office: House) -> None:
    first, _ = await invoiced(office, 2)
    drafted = await draft(office)
    await refund(office, first)
    approved = await approve(office, drafted)
    assert approved["entries"] == 3
    assert approved["net_fen"] == drafted["net_fen"] + approved["refunded_fen"] < drafted["net_fen"]
    again = await post(office, retailer_id="sandbox", **PERIOD)
    assert again.json()["code"] == "nothing_to_settle"


async def test_a_refund_after_settlement_is_clawed_back_in_the_next(office: House) -> None:
    first, _ = await invoiced(office, 2)
    drafted = await draft(office)
    await pay(office, await approve(office, drafted))
    await refund(office, first)
    (back,) = await office.sql("SELECT amount_fen FROM journal WHERE kind = 'refund'")
    await invoiced(office, 1, start=9)
    following = await draft(office)
    assert (following["entries"], following["clawed_back_fen"]) == (2, back["amount_fen"])
    assert following["net_fen"] == following["granted_fen"] + back["amount_fen"]
    assert (await statement(office, following)).json()["lines"][0]["part"] == "claw_back"


async def test_a_claw_back_alone_makes_a_negative_net(office: House) -> None:
    (only,) = await invoiced(office, 1)
    drafted = await draft(office)
    await approve(office, drafted)
    await refund(office, only)
    assert (await draft(office))["net_fen"] == -drafted["net_fen"]


async def give_back(house: House, claim_id: str) -> None:
    async with house.client() as client:
        answer = await client.post(
            f"/v1/claims/{claim_id}/refunds",
            json={"lines": [1], "reason": "returned"},
            headers={"Idempotency-Key": f"back-{claim_id}"},
        )
    assert answer.status_code == 201, answer.text


async def all_is_settled_once(house: House) -> None:
    """Approve what waits, claw back what is left, and see that every entry was paid or taken back
    exactly once, to the fen."""
    for _ in range(2):
        async with house.client("finance") as client:
            drafts = (await client.get("/v1/settlements", params={"state": "drafted"})).json()
        for settlement in drafts["settlements"]:
            await approve(house, settlement)
        again = await post(house, retailer_id="sandbox", **PERIOD)
        assert again.status_code in (201, 409), again.text
    assert again.json()["code"] == "nothing_to_settle"
    (left,) = await house.sql(
        "SELECT (SELECT count(*) FROM journal WHERE kind <> 'allocation')"
        " - (SELECT count(*) FROM settled_entry) AS entries,"
        " (SELECT sum(amount_fen) FROM journal WHERE kind <> 'allocation')"
        " - (SELECT sum(net_fen) FROM settlement) AS fen"
    )
    assert (left["entries"], left["fen"]) == (0, 0)


async def test_refunds_that_race_drafts_are_settled_once(office: House) -> None:
    claims = await invoiced(office, 12)
    periods = ({"from": "2025-06-01"}, {"from": "2025-06-10"}, {"to": "2025-06-18"})
    drafts = [post(office, retailer_id="sandbox", **{**PERIOD, **period}) for period in periods]
    answers = await asyncio.gather(
        *drafts, *(give_back(office, claim_id) for claim_id in claims[::2])
    )
    assert sorted(answer.status_code for answer in answers if answer) == [201, 409, 409]
    await all_is_settled_once(office)


async def test_refunds_that_race_an_approval_are_netted_or_clawed_back(office: House) -> None:
    claims = await invoiced(office, 12)
    drafted = await draft(office)
    await asyncio.gather(
        *(give_back(office, claim_id) for claim_id in claims[:4]),
        approve(office, drafted),
        *(give_back(office, claim_id) for claim_id in claims[4:9]),
    )
    await all_is_settled_once(office)


async def test_an_advance_is_paid_and_netted_once(office: House) -> None:
    await invoiced(office, 2)
    due = await granted(office)
    advance = await draft(office, advance_bp=5000)
    assert (advance["kind"], advance["net_fen"]) == ("advance", due // 2)
    second = await post(office, retailer_id="sandbox", **PERIOD, advance_bp=5000)
    assert (second.status_code, second.json()["code"]) == (409, "advance_outstanding")
    await pay(office, await approve(office, advance))
    final = await draft(office)
    assert (final["advanced_fen"], final["net_fen"]) == (due // 2, due - due // 2)
    assert (await approve(office, final))["net_fen"] == due - due // 2
    await invoiced(office, 1, start=9)
    assert (await draft(office))["advanced_fen"] == 0


async def test_an_advance_is_a_share_of_the_grants_without_claw_backs(office: House) -> None:
    settled = await invoiced(office, 2)
    await approve(office, await draft(office))
    await refund(office, settled[0])
    await invoiced(office, 1, start=9)
    (latest,) = await office.sql(
        "SELECT amount_fen AS fen FROM journal WHERE kind = 'grant' ORDER BY entry_no DESC LIMIT 1"
    )
    advance = await draft(office, advance_bp=10_000)
    assert advance["net_fen"] == latest["fen"]


async def test_an_advance_paid_while_the_draft_waits_is_netted_at_approval(office: House) -> None:
    await invoiced(office, 2)
    due = await granted(office)
    advance = await draft(office, advance_bp=5000)
    final = await draft(office)
    assert (final["advanced_fen"], final["net_fen"]) == (0, due)
    await pay(office, await approve(office, advance))
    approved = await approve(office, final)
    assert (approved["advanced_fen"], approved["net_fen"]) == (due // 2, due - due // 2)


async def test_an_approved_advance_is_netted_though_it_was_not_paid_yet(office: House) -> None:
    await invoiced(office, 2)
    due = await granted(office)
    advance = await approve(office, await draft(office, advance_bp=5000))
    final = await approve(office, await draft(office))
    assert (final["advanced_fen"], final["net_fen"]) == (due // 2, due - due // 2)
    assert (await pay(office, advance))["state"] == "paid"


async def test_an_advance_is_not_approved_when_nothing_is_left_to_net_it_in(office: House) -> None:
    claims = await invoiced(office, 2)
    advance = await draft(office, advance_bp=5000)
    await approve(office, await draft(office))
    path = f"/{advance['settlement_id']}"
    refused = await post(office, f"{path}/approve", "finance2")
    assert (refused.status_code, refused.json()["code"]) == (409, "advance_too_large")
    voided = await post(office, f"{path}/void", reason="all is settled")
    assert voided.status_code == 200, voided.text
    await refund(office, claims[0])
    assert (await draft(office))["clawed_back_fen"] < 0


async def void(house: House, settlement: dict[str, Any], role: str = "finance") -> httpx.Response:
    return await post(house, f"/{settlement['settlement_id']}/void", role, reason="wrong period")


async def test_a_voided_draft_stays_on_record_and_frees_its_entries(office: House) -> None:
    claims = await invoiced(office, 3)
    await refund(office, claims[0])
    drafted = await draft(office)
    lines = (await statement(office, drafted)).json()["lines"]
    answer = await void(office, drafted, "finance2")
    assert answer.status_code == 200, answer.text
    xml = answer.json()
    assert (xml["state"], xml["void_reason"]) == ("voided", "wrong period")
    assert xml["voided_by"] != xml["drafted_by"] == drafted["drafted_by"]
    amounts = ("entries", "granted_fen", "refunded_fen", "net_fen")
    assert [xml[name] for name in amounts] == [drafted[name] for name in amounts]
    assert (await statement(office, drafted)).json()["lines"] == lines
    assert "已作废" in str(
        CalamineWorkbook.from_filelike(
            io.BytesIO((await statement(office, drafted, "xlsx")).content)
        )
        .get_sheet_by_index(0)
        .to_python()
    )
    async with office.client("finance") as client:
        listed = (await client.get("/v1/settlements", params={"state": "voided"})).json()
    assert listed["settlements"] == [xml]
    again = await draft(office)
    assert [again[name] for name in amounts] == [drafted[name] for name in amounts]
    await approve(office, again)
    await all_is_settled_once(office)


async def test_only_a_draft_can_be_voided_and_a_repeat_is_harmless(office: House) -> None:
    await invoiced(office, 1)
    drafted = await draft(office)
    xml = (await void(office, drafted)).json()
    assert (await void(office, drafted)).json() == xml
    for path, more in (
        ("approve", {}),
        ("pay", {"payment_reference": "P"}),
        ("void", {"reason": "x"}),
    ):
        answer = await post(office, f"/{drafted['settlement_id']}/{path}", "finance2", **more)
        assert (answer.status_code, answer.json()["code"]) == (409, "wrong_state")
        assert "作废" in answer.json()["detail"]
    approved = await approve(office, await draft(office))
    late = await void(office, approved)
    assert (late.status_code, late.json()["code"]) == (409, "wrong_state")
    assert "已审核，不能作废" in late.json()["detail"]
    for change in (
        "DELETE FROM settled_entry",
        "DELETE FROM settlement",
        "DELETE FROM voided_entry",
        "UPDATE voided_settlement SET void_reason = ''",
        "TRUNCATE voided_settlement CASCADE",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await office.sql(change)


async def test_voiding_a_draft_makes_its_advance_outstanding_again(office: House) -> None:
    await invoiced(office, 2)
    advance = await draft(office, advance_bp=5000)
    await pay(office, await approve(office, advance))
    netting = await draft(office)
    assert netting["advanced_fen"] == advance["net_fen"]
    await invoiced(office, 1, start=9)
    second = await draft(office, advance_bp=5000)
    refused = await void(office, netting)
    assert (refused.status_code, refused.json()["code"]) == (409, "advance_outstanding")
    await void(office, second)
    assert (await void(office, netting)).status_code == 200
    assert (await draft(office))["advanced_fen"] == advance["net_fen"]


async def test_an_approval_that_races_a_voiding_wins_or_loses_whole(office: House) -> None:
    await invoiced(office, 3)
    for _ in range(3):
        drafted = await draft(office)
        path = f"/{drafted['settlement_id']}"
        answers = await asyncio.gather(
            post(office, f"{path}/approve", "finance2"),
            void(office, drafted),
            void(office, drafted),
        )
        if answers[0].status_code == 200:
            assert [answer.status_code for answer in answers] == [200, 409, 409]
            break
        assert [answer.status_code for answer in answers] == [409, 200, 200]
    await all_is_settled_once(office)


async def test_two_approvals_at_once_net_once(office: House) -> None:
    claims = await invoiced(office, 2)
    drafted = await draft(office)
    await refund(office, claims[0])
    path = f"/{drafted['settlement_id']}/approve"
    answers = await asyncio.gather(*(post(office, path, "finance2") for _ in range(3)))
    assert [answer.status_code for answer in answers] == [200] * 3
    assert len({answer.text for answer in answers}) == 1
    await all_is_settled_once(office)


async def test_nothing_is_approved_for_a_suspended_retailer(office: House) -> None:
    await invoiced(office, 2)
    before = await approve(office, await draft(office))
    await invoiced(office, 1, start=9)
    await office.sql("UPDATE retailer SET state = 'suspended' WHERE retailer_id = 'sandbox'")
    drafted = await draft(office)  # so that the inspectors have a figure
    refused = await post(office, f"/{drafted['settlement_id']}/approve", "finance2")
    assert (refused.status_code, refused.json()["code"]) == (409, "retailer_suspended")
    assert (await pay(office, before))["state"] == "paid"  # the bank had its order
    await office.sql("UPDATE retailer SET state = 'active' WHERE retailer_id = 'sandbox'")
    await approve(office, drafted)


async def statement(house: House, settlement: dict[str, Any], format_: str = "json") -> Any:
    async with house.client("finance") as client:
        path = f"/v1/settlements/{settlement['settlement_id']}/statement"
        answer = await client.get(path, params={"format": format_})
    assert answer.status_code == 200, answer.text
    return answer


async def test_the_statements_say_the_same(office: House) -> None:
    await invoiced(office, 3)
    drafted = await draft(office)
    lines = (await statement(office, drafted)).json()["lines"]
    assert sum(line["amount_fen"] for line in lines) == drafted["net_fen"]
    text = (await statement(office, drafted, "csv")).content.decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [row["金额（元）"] for row in rows] == [f"{n['amount_fen'] / 100:.2f}" for n in lines]
    assert rows[0]["发票号码"] == lines[0]["invoice_no"]
    book = (await statement(office, drafted, "xlsx")).content
    sheet = CalamineWorkbook.from_filelike(io.BytesIO(book)).get_sheet_by_name("明细").to_python()
    assert [round(row[-1] * 100) for row in sheet[1:]] == [n["amount_fen"] for n in lines]
    pdf = (await statement(office, drafted, "pdf")).content
    assert pdf.startswith(b"%PDF-") and b"STSong-Light" in pdf
    assert (await statement(office, drafted, "pdf")).content == pdf


async def test_what_others_wrote_is_neither_formula_nor_link_in_a_statement(
    office: House,
) -> None:
    await invoiced(office, 1)
    await office.sql("UPDATE retailer SET name = '=1+1𠮷' WHERE retailer_id = 'sandbox'")
    path = f"/{(drafted := await approve(office, await draft(office)))['settlement_id']}/pay"
    answer = await post(office, path, payment_reference="http://example.org/")
    assert answer.status_code == 200, answer.text
    book = zipfile.ZipFile(io.BytesIO((await statement(office, drafted, "xlsx")).content))
    xml = "".join(book.read(name).decode() for name in book.namelist())
    assert "<f>" not in xml
    assert "<hyperlink" not in xml
    assert (await statement(office, drafted, "pdf")).content.startswith(b"%PDF-")


def test_only_the_csv_of_a_statement_needs_a_guard() -> None:
    line = StatementLine(
        9, NOW.date(), "refund", "-S1", "phone", SETTLEMENT.settlement_id, 1, "F1", -5
    )
    paper = Statement(SETTLEMENT, "x", "y", [line])
    assert "'-S1,phone" in csv_file(paper).decode()
    for sign in "=+-@\t\r＝＋－＠":
        spoilt = replace(line, store_id=f"{sign}1", invoice_no=f"{sign}2")
        (_, row) = csv.reader(io.StringIO(csv_file(replace(paper, lines=[spoilt])).decode()))
        assert (row[3], row[7]) == (f"'{sign}1", f"'{sign}2")
    assert csv_file(paper).decode().rstrip().endswith(",F1,-0.05")
    book = CalamineWorkbook.from_filelike(io.BytesIO(xlsx_file(paper))).get_sheet_by_name("明细")
    assert book.to_python()[1][3] == "-S1"


async def test_settlements_are_listed_and_read(office: House) -> None:
    await invoiced(office, 1)
    drafted = await draft(office)
    async with office.client("finance") as client:
        listed = (await client.get("/v1/settlements", params={"state": "drafted"})).json()
        none = (await client.get("/v1/settlements", params={"retailer": "other"})).json()
        read = (await client.get(f"/v1/settlements/{drafted['settlement_id']}")).json()
    assert listed["settlements"] == [drafted] == [read]
    assert none["settlements"] == []


async def test_a_retailer_reads_its_own_settlements_and_whether_they_are_paid(
    office: House,
) -> None:
    await invoiced(office, 1)
    paid = await pay(office, await approve(office, await draft(office)))
    await invoiced(office, 1, start=5)
    drafted = await draft(office)
    path = f"/v1/settlements/{paid['settlement_id']}"
    async with office.client("pos") as client:
        listed = (await client.get("/v1/settlements")).json()["settlements"]
        named = await client.get("/v1/settlements", params={"retailer": "sandbox"})
        only_paid = await client.get("/v1/settlements", params={"state": "paid"})
        read = await client.get(path)
        lines = (await client.get(f"{path}/statement")).json()["lines"]
        pdf = await client.get(f"{path}/statement", params={"format": "pdf"})
    assert listed == [drafted, paid] == named.json()["settlements"]
    assert [one["payment_reference"] for one in only_paid.json()["settlements"]] == ["PAY-1"]
    assert read.json() == paid
    assert sum(line["amount_fen"] for line in lines) == paid["net_fen"]
    assert pdf.content.startswith(b"%PDF-")


async def test_another_retailers_settlement_looks_like_none(office: House) -> None:
    await invoiced(office, 1)
    drafted = await draft(office)
    async with office.client("other") as client:
        for params in ({}, {"retailer": "sandbox"}, {"state": "drafted"}):
            listed = await client.get("/v1/settlements", params=params)
            assert (listed.status_code, listed.json()) == (200, {"settlements": []})
        for name in (drafted["settlement_id"], "019780c3-c9da-76f1-8a29-36f05201f175"):
            for suffix in ("", "/statement"):
                answer = await client.get(f"/v1/settlements/{name}{suffix}")
                assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_a_retailer_only_reads_settlements(office: House) -> None:
    await invoiced(office, 1)
    drafted = await draft(office)
    bodies: dict[str, dict[str, Any]] = {
        "": {"retailer_id": "sandbox", **PERIOD},
        f"/{drafted['settlement_id']}/approve": {},
        f"/{drafted['settlement_id']}/pay": {"payment_reference": "PAY-1"},
        f"/{drafted['settlement_id']}/void": {"reason": "x"},
    }
    for path, body in bodies.items():
        answer = await post(office, path, "pos", **body)
        assert (answer.status_code, answer.json()["code"]) == (403, "missing_scope")
    async with office.client("bureau") as client:
        assert (await client.get("/v1/settlements")).status_code == 403


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"retailer_id": "nobody", **PERIOD}, 404),
        ({"retailer_id": "a\x00", **PERIOD}, 422),
        ({"retailer_id": "sandbox", "from": "2025-07-01", "to": "2025-06-01"}, 422),
        ({"retailer_id": "sandbox", **PERIOD, "advance_bp": 10_001}, 422),
        ({"retailer_id": "sandbox", **PERIOD, "advance_bp": "50"}, 422),
        ({"retailer_id": "sandbox", **PERIOD, "colour": "red"}, 422),
        ({"retailer_id": "sandbox", **PERIOD, "from": "1748736000"}, 422),
        ({"retailer_id": "other", **PERIOD}, 409),
    ],
)
async def test_a_bad_draft_leaves_nothing(office: House, body: dict[str, Any], status: int) -> None:
    answer = await post(office, **body)
    assert answer.status_code == status, answer.text
    assert await office.sql("SELECT FROM settlement") == []


async def test_an_unknown_settlement_is_a_404(office: House) -> None:
    for name in ("x", "%00", "019780c3-c9da-76f1-8a29-36f05201f175"):
        async with office.client("finance") as client:
            for suffix in ("", "/statement"):
                assert (await client.get(f"/v1/settlements/{name}{suffix}")).status_code == 404
        assert (await post(office, f"/{name}/approve")).status_code == 404
        assert (await post(office, f"/{name}/pay", payment_reference="P")).status_code == 404


def test_each_way_in_which_a_settlement_cannot_be_moved_has_its_sentence() -> None:
    moved: dict[SettlementAction, str] = {"approve": "approved", "pay": "paid", "void": "voided"}
    for action in moved:
        for state in get_args(SettlementState):
            if (action, state) not in {("approve", "drafted"), ("void", "drafted")}:
                assert WrongSettlementState(action, state).why().zh.endswith("。")
