"""Today's burn as a line: coordinates for an SVG path, computed here so that the page needs no
script."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

# Shops sell by day; earlier burn is drawn at the left edge.
FIRST_HOUR, LAST_HOUR = 6, 24
HOURS = (6, 9, 12, 15, 18, 21, 24)
WIDTH, HEIGHT = 1000, 300
# Space above the highest point.
HEADROOM_PERCENT = 15


@dataclass(frozen=True, slots=True)
class Chart:
    """An SVG's path and area in a box of WIDTH by HEIGHT, and the last point. `usual_y` is the
    height of a usual day's line; None without one."""

    path: str
    area: str
    last_x: int
    last_y: int
    usual_y: int | None


def draw(points: Sequence[tuple[datetime, int]], usual_fen: int | None) -> Chart | None:
    """The line through the burn of today so far, by local time; None without a point."""
    if not points:
        return None
    fens = [fen for _, fen in points]
    low = min(0, *fens)
    high = max(1, usual_fen or 0, *fens)
    span = (high - low) * (100 + HEADROOM_PERCENT) // 100 or 1

    def y(fen: int) -> int:
        return HEIGHT - (fen - low) * HEIGHT // span

    corners = [(_x(at), y(fen)) for at, fen in points]
    path = "M" + " L".join(f"{x} {height}" for x, height in corners)
    first_x, (last_x, last_y) = corners[0][0], corners[-1]
    ground = y(0)
    area = f"{path} L{last_x} {ground} L{first_x} {ground} Z"
    return Chart(path, area, last_x, last_y, y(usual_fen) if usual_fen else None)


def _x(at: datetime) -> int:
    minutes = (at.hour - FIRST_HOUR) * 60 + at.minute
    return min(max(minutes, 0) * WIDTH // ((LAST_HOUR - FIRST_HOUR) * 60), WIDTH)
