"""The sandbox's clock on one folder only runs forward, even if its file is lost."""

from datetime import timedelta
from pathlib import Path

import pytest

from service.config import Misconfigured
from service.sandbox import STARTS_AT, KeptClock, decide_clock, read_clock, real_now, write_clock

NEWEST = STARTS_AT + timedelta(hours=3)


def test_a_lost_clock_goes_on_from_the_newest_entry() -> None:
    now = real_now()
    assert decide_clock(None, None, NEWEST, now) == KeptClock(NEWEST, now)
    assert decide_clock(None, None, None, now) == KeptClock(STARTS_AT, now)


def test_a_kept_clock_is_never_behind_the_newest_entry() -> None:
    now = real_now()
    kept = KeptClock(STARTS_AT, now - timedelta(hours=1))
    assert decide_clock(None, kept, None, now) == kept
    assert decide_clock(None, kept, NEWEST, now) == KeptClock(NEWEST, now)


def test_only_a_clock_that_was_asked_for_is_refused() -> None:
    with pytest.raises(Misconfigured, match="leave BUTIE_CLOCK unset"):
        decide_clock(STARTS_AT.isoformat(), None, NEWEST, real_now())


def test_a_file_that_cannot_be_read_or_written_is_one_sentence(tmp_path: Path) -> None:
    write_clock(tmp_path, KeptClock(STARTS_AT, real_now()))
    assert read_clock(tmp_path) is not None
    (tmp_path / "clock.json").write_text("{")
    with pytest.raises(Misconfigured, match="spoilt"):
        read_clock(tmp_path)
    (tmp_path / "clock.new").mkdir()
    with pytest.raises(Misconfigured, match="cannot be written"):
        write_clock(tmp_path, KeptClock(STARTS_AT, real_now()))
