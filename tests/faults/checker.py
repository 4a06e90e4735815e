"""Checks the invariants against the books and the history. A breach is a sentence."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from service.core.identifiers import serial_spellings
from tests.faults.books import Books
from tests.faults.history import History, Sale

LIVE = ("reserved", "confirmed")


def breaches(history: History, books: Books) -> list[str]:
    """Every breach of an invariant; empty when all hold."""
    return [
        *history.strange,
        *_answers(history, books),
        *_once(books),
        *_quotas(books),
        *_money(books),
        *drift(books),
    ]


def count_lost(sentences: list[str]) -> int:
    """The number of these breaches that are lost claims."""
    return sum(sentence.startswith("lost") for sentence in sentences)


def _answers(history: History, books: Books) -> Iterator[str]:
    claims = {str(claim["claim_id"]): claim for claim in books.claims}
    keyed = {claim["idempotency_key"]: claim for claim in books.claims}
    lines = {str(line["claim_id"]): line for line in books.lines}
    for sale in history.sales:
        ids = {claim["claim_id"] for claim in sale.granted}
        if len(ids) > 1:
            yield f"key {sale.key} was answered with {len(ids)} claims"
        for answer in sale.granted:
            claim = claims.get(answer["claim_id"])
            if claim is None:
                yield f"lost: claim {answer['claim_id']} was answered and is not in the ledger"
            elif claim["subsidy_fen"] != answer["subsidy_fen"]:
                yield f"claim {answer['claim_id']} was answered with another amount"
            else:
                yield from _fate(sale, claim, lines[answer["claim_id"]])
        if sale.refused and not sale.granted and sale.key in keyed:
            yield f"key {sale.key} was refused and has a claim"


def _fate(sale: Sale, claim: dict[str, Any], line: dict[str, Any]) -> Iterator[str]:
    if sale.ended and claim["state"] != sale.ended:
        yield f"claim of {sale.key} was answered {sale.ended} and is {claim['state']}"
    if sale.refunded and line["state"] != "refunded":
        yield f"claim of {sale.key} was answered refunded and is {line['state']}"
    if not sale.checkout["hold"] and claim["state"] != "confirmed":
        yield f"claim of {sale.key} was granted and is {claim['state']}"


def _once(books: Books) -> Iterator[str]:
    keys = Counter((claim["retailer_id"], claim["idempotency_key"]) for claim in books.claims)
    for (_, key), count in keys.items():
        if count > 1:
            yield f"double grant: key {key} has {count} claims"
    live = Counter(
        spelling
        for line in books.lines
        if line["state"] in LIVE
        for spelling in serial_spellings(line["serial_no"])
    )
    for serial, count in live.items():
        if count > 1:
            yield f"double grant: serial {serial} has {count} live lines"
    held = {row["serial_no"] for row in books.serials}
    if held != live.keys():
        yield f"serials held and serials live differ: {sorted(held ^ live.keys())[:5]}"


def _quotas(books: Books) -> Iterator[str]:
    taken: Counter[tuple[str, str, str]] = Counter()
    for line in books.lines:
        for use in line["quotas"]:
            kept = line["state"] == "refunded" and not use["restored"]
            if line["state"] in LIVE or kept:
                taken[use["subject"], use["quota"], use["period"]] += use["amount"]
    for row in books.quota_uses:
        key = (row["subject"].hex(), row["quota"], row["period"])
        lines = taken.pop(key, 0)
        if row["used"] != lines:
            yield f"quota {key} is booked as {row['used']}; the lines took {lines}"
        if row["used"] > row["used_max"]:
            yield f"quota {key} was exceeded"
    if any(taken.values()):
        yield f"{len(taken)} quotas were taken and are not booked"


def _money(books: Books) -> Iterator[str]:
    for pool in books.pools:
        name = pool["pool"]
        spent = pool["confirmed_fen"] + pool["reserved_fen"]
        if spent > pool["allocated_fen"]:
            yield f"overspend: {name} has spent {spent} of {pool['allocated_fen']}"
        sums = {"confirmed": pool["confirmed_fen"], "reserved": pool["reserved_fen"]}
        for state, booked in sums.items():
            lines = sum(
                line["subsidy_fen"]
                for line in books.lines
                if line["pool"] == name and line["state"] == state
            )
            if lines != booked:
                yield f"{name}: {state} is {booked} and the lines say {lines}"
        entries = sum(
            entry["amount_fen"]
            for entry in books.journal
            if entry["pool"] == name and entry["kind"] != "allocation"
        )
        if entries != pool["confirmed_fen"]:
            yield f"{name}: confirmed is {pool['confirmed_fen']} and the journal says {entries}"
    booked = Counter((e["claim_id"], e["line_no"], e["kind"]) for e in books.journal)
    twice = [key for key, count in booked.items() if key[0] is not None and count > 1]
    if twice:
        yield f"double grant: {len(twice)} lines are booked twice"


def drift(books: Books) -> Iterator[str]:
    """The differences between the gate and the ledger at rest."""
    if books.admissions:
        yield f"drift: {books.admissions} admissions are still in flight at rest"
    for pool in books.pools:
        view = books.gate.get(pool["pool"], {})
        gate = view.get("allocated", 0) - view.get("spent", 0) - view.get("flying", 0)
        ledger = pool["allocated_fen"] - pool["confirmed_fen"] - pool["reserved_fen"]
        if gate != ledger:
            yield f"drift: the gate has {gate} left in {pool['pool']}, the ledger {ledger}"
