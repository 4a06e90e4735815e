"""Archives as platforms send them, and those that are not to be unpacked."""

import gzip
import io
import zipfile

import pytest

from service.finance.files import archive
from service.finance.files.faults import BadFile


def zipped(members: dict[str, bytes], *, names: str = "utf-8") -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in members.items():
            if names == "utf-8":
                target.writestr(name, content)
            else:  # written raw, as a tool does that knows no flag for it
                target.writestr(name.encode("gbk").decode("cp437"), content)
    body = file.getvalue()
    if names != "utf-8":  # and without the flag that Python sets
        body = body.replace(b"\x00\x08\x08\x00", b"\x00\x00\x08\x00")
    return io.BytesIO(body)


def contents(file: io.BytesIO) -> dict[str, bytes]:
    with archive.unpacked(file) as members:
        return {name: member.read() for name, member in members.items()}


def fault_of(file: io.BytesIO) -> str:
    with pytest.raises(BadFile) as refused:
        contents(file)
    return refused.value.fault


def test_a_plain_file_is_its_own_only_member() -> None:
    assert contents(io.BytesIO(b"a,b\n")) == {"": b"a,b\n"}


def test_a_zip_of_one_table_and_a_gz_are_unpacked() -> None:
    assert contents(zipped({"bill.csv": b"a,b\n", "__MACOSX/._bill.csv": b"x"})) == {
        "bill.csv": b"a,b\n"
    }
    assert contents(io.BytesIO(gzip.compress(b"a,b\n"))) == {"": b"a,b\n"}


def test_an_archive_in_an_archive_is_refused() -> None:
    inner = zipped({"bill.csv": b"a"}).getvalue()
    assert fault_of(zipped({"inner.zip": inner})) == "nested_archive"
    assert fault_of(io.BytesIO(gzip.compress(inner))) == "nested_archive"
    assert fault_of(io.BytesIO(gzip.compress(gzip.compress(b"a")))) == "nested_archive"


def test_what_unpacks_to_too_much_is_refused_within_the_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(archive, "UNPACKED_MAX_BYTES", 1000)
    assert fault_of(zipped({"a.csv": bytes(600), "b.csv": bytes(600)})) == "unpacks_too_large"
    assert fault_of(io.BytesIO(gzip.compress(bytes(2000)))) == "unpacks_too_large"


def test_an_empty_or_spoilt_archive_is_told() -> None:
    assert fault_of(zipped({"folder/": b""})) == "empty_archive"
    assert fault_of(io.BytesIO(b"PK\x03\x04 and no more")) == "unreadable"
    assert fault_of(io.BytesIO(b"\x1f\x8b and no more")) == "unreadable"


def test_a_gz_of_a_spoilt_zip_is_told() -> None:
    assert fault_of(io.BytesIO(gzip.compress(b"PK\x03\x04 and no more"))) == "unreadable"
