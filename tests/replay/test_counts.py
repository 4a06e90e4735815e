"""The table of quotas, like a dictionary in a fifteenth of its memory; names and columns."""

import tracemalloc
from pathlib import Path
from random import Random

from service.core.reasons import ReasonCode
from service.replay.counts import QuotaCounts
from service.replay.lines import LINE_COLUMNS
from service.replay.words import REASONS


def test_it_counts_as_a_dictionary_does() -> None:
    random = Random(7)
    counts, known = QuotaCounts(10), {}
    for _ in range(20_000):
        key = (random.randrange(5_000).to_bytes(16), random.choice("ab"), random.choice("yz"))
        count = random.choice((0, 1, 2, 65_534, 65_535, 65_536, 10_000_000_000))
        counts[key] = known[key] = count
        other = (random.randrange(9_000).to_bytes(16), "a", "y")
        assert counts.get(other) == known.get(other, 0)
    assert all(counts.get(key) == count for key, count in known.items())
    assert len(counts) == len(known)


def test_a_million_persons_take_20_megabytes() -> None:
    """Ten millions, then, 160 MiB; the bar for the whole replay is 512."""
    tracemalloc.start()
    counts = QuotaCounts(1_600_000)
    for n in range(1_000_000):
        counts[(n * 0x9E3779B97F4A7C15 % 2**64).to_bytes(8), "air_conditioner", "2025"] = 1
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000_000
    assert counts.size_bytes < 17_000_000


def test_the_page_has_every_column_of_the_lines() -> None:
    page = (Path(__file__).parents[2] / "docs/replay.md").read_text(encoding="utf-8")
    for column in LINE_COLUMNS:
        assert f"| `{column.name}` | {column.zh} | {column.about} |" in page


def test_every_reason_has_a_name() -> None:
    assert REASONS.keys() == set(ReasonCode)
