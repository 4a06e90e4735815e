"""Counts outcomes of claims. Metric children are looked up once: this is on the claim path."""

from typing import assert_never

from service import metrics
from service.claims.outcomes import Granted, KeyReused, Outcome, Refused, Replayed
from service.core.checkout import Checkout
from service.core.policy import PolicyBook
from service.core.reasons import ReasonCode

# A till may send any category. Those that no policy has are counted together.
UNKNOWN = "unknown"


class Tally:
    """Counts outcomes, by the schemes and categories of one jurisdiction's policies."""

    def __init__(self, book: PolicyBook) -> None:
        self._outcomes = {
            kind: metrics.claims.labels(kind.__name__.lower())
            for kind in (Granted, Replayed, Refused, KeyReused)
        }
        self._codes = {code: metrics.refusals.labels(code.value) for code in ReasonCode}
        schemes = {UNKNOWN: UNKNOWN} | {
            category.id: category.scheme
            for policy in book.policies
            for category in policy.categories.values()
        }
        self._lines = {
            (category, outcome): metrics.claim_lines.labels(scheme, category, outcome)
            for category, scheme in schemes.items()
            for outcome in ("granted", "held", "refused", "no_money")
        }
        self._fen = {
            (category, outcome): metrics.claim_lines_fen.labels(scheme, category, outcome)
            for category, scheme in schemes.items()
            for outcome in ("granted", "held")
        }

    def count(self, checkout: Checkout, outcome: Outcome) -> None:
        """Count one answer."""
        self._outcomes[type(outcome)].inc()
        match outcome:
            case Granted(claim):
                became = "held" if checkout.hold else "granted"
                for line in claim.lines:
                    self._lines[line.category, became].inc()
                    self._fen[line.category, became].inc(line.subsidy_fen)
            case Refused(reasons):
                for code in {reason.code for _, reason in reasons}:
                    self._codes[code].inc()
                short = {n for n, reason in reasons if reason.code == ReasonCode.BUDGET_EXHAUSTED}
                for item in checkout.items:
                    became = "no_money" if item.line_no in short else "refused"
                    child = self._lines.get((item.category, became))
                    (child or self._lines[UNKNOWN, became]).inc()
            case Replayed() | KeyReused():
                pass
            case _:
                assert_never(outcome)
