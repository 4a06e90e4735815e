"""How the page writes money, shares and days."""

from datetime import date, datetime

from service.core.money import yuan
from service.core.sentences import Language

WAN_FEN = 1_000_000  # 万元: ten thousand yuan


def money(fen: int, language: Language) -> str:
    """An amount to be read from across a room: 万元 to two places, or whole yuan. It is rounded
    towards zero, so that the page never shows more than there is."""
    sign, whole = ("-" if fen < 0 else ""), abs(fen)
    if language == "en":
        return f"{sign}¥{whole // 100:,}"
    if not fen:
        return "0 元"
    if whole < WAN_FEN:
        return f"{sign}{yuan(whole)} 元"
    hundreds, odd = divmod(whole * 100 // WAN_FEN, 100)
    return f"{sign}{hundreds:,}.{odd:02d} 万元"


def permille(share_fen: int, whole_fen: int) -> int:
    """A share in thousandths of the whole, rounded down, from 0 to 1,000."""
    if whole_fen <= 0:
        return 0
    return min(1000, max(0, share_fen) * 1000 // whole_fen)


def day(on: date, today: date, language: Language) -> str:
    """A day, with its year only when that differs from today's."""
    other = on.year != today.year
    if language == "en":
        return f"{on.day} {on:%b} {on.year}" if other else f"{on.day} {on:%b}"
    return f"{on.year}年{on.month}月{on.day}日" if other else f"{on.month}月{on.day}日"


def clock_time(at: datetime) -> str:
    return f"{at:%H:%M:%S}"
