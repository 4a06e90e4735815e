"""All that a policy file may lay down for goods. A new rule's terms are one more base."""

from service.core.rules.age import AgeTerms
from service.core.rules.price import PriceTerms
from service.core.rules.quota import QuotaTerms
from service.core.rules.serial import SerialTerms
from service.core.rules.tiers import TierTerms
from service.core.rules.trade_in import TradeInTerms
from service.core.rules.window import WindowTerms


# pydantic takes the fields of the last base first: this is the order of a file.
class Terms(SerialTerms, AgeTerms, TradeInTerms, QuotaTerms, TierTerms, PriceTerms, WindowTerms):
    """What a scheme, a group or a category may lay down; the narrower one prevails."""
