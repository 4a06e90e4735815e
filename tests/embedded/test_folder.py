"""Each folder that cannot be used gets one sentence."""

import os
import pwd
from collections.abc import Callable
from pathlib import Path

import pytest

from service.embedded import EmbeddedError, engines, folder
from tests.embedded.owners import Owner

Own = Callable[..., Owner]


def refusal(path: Path) -> str:
    with pytest.raises(EmbeddedError) as refused, engines(path):
        pass
    return str(refused.value)


def test_file_in_the_folders_place(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.touch()
    assert "data is a file, where the sandbox wants a folder" in refusal(path)


def test_file_where_a_folder_above_should_be(tmp_path: Path) -> None:
    (tmp_path / "above").touch()
    assert "Not a directory" in refusal(tmp_path / "above" / "data")


def test_folder_in_the_lock_files_place(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    assert "Is a directory" in refusal(tmp_path)


def test_read_only_folder(tmp_path: Path, own: Own) -> None:
    tmp_path.chmod(0o500)
    owner = own(tmp_path, "--heed-permissions")
    assert f"cannot keep its data in {tmp_path}: Permission denied" in owner.first_line["refused"]
    assert owner.leave() == 1


def test_folder_that_cannot_be_made(tmp_path: Path, own: Own) -> None:
    tmp_path.chmod(0o500)
    owner = own(tmp_path / "data", "--heed-permissions")
    assert "Permission denied" in owner.first_line["refused"]
    assert owner.leave() == 1


def test_for_root_the_engines_run_as_the_folders_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that whoever has the folder can use it without root, too."""
    if os.geteuid() == 0:
        user = next(one for one in pwd.getpwall() if one.pw_uid not in (0, folder.NOBODY_UID))
        os.chown(tmp_path, user.pw_uid, user.pw_gid)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    owner = tmp_path.stat()
    assert folder.engines_account(tmp_path) == (owner.st_uid, owner.st_gid)
    monkeypatch.setattr(folder, "has_name", lambda uid: False)
    assert folder.engines_account(tmp_path) != (owner.st_uid, owner.st_gid)


def test_nearly_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "FREE_BYTES_MIN", 2**60)
    assert "MiB are free on the disk" in refusal(tmp_path)
