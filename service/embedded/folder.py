"""The data folder: its lock, and the user that owns the engines' files.

lock               held by the one service on this folder; holds its pid
postgres/          the ledger           postgres.password, postgres.log
valkey/            the gate: settings   valkey.log
"""

import fcntl
import os
import pwd
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from service.embedded.fault import EmbeddedError

FREE_BYTES_MIN = 200 * 2**20  # a new cluster takes 46 MB, the WAL of its first checkpoints the rest
PASSWORD_BYTES = 24
NOBODY_UID = 65534


class Account(NamedTuple):
    """The user that an engine runs as."""

    uid: int
    gid: int


@dataclass(frozen=True)
class Home:
    """A data folder that this process alone uses; `account` is None for the process's own user."""

    path: Path
    account: Account | None

    def private_folder(self, name: str) -> Path:
        """A folder that belongs to the engines, created if missing."""
        folder = self.path / name
        folder.mkdir(mode=0o700, exist_ok=True)
        self.hand_over(folder)
        return folder

    def hand_over(self, path: Path) -> None:
        """Change the owner of `path` and everything below it to the engines' account, if necessary.

        `path` itself comes last, so that an interrupted run is repeated.
        """
        if self.account is None or path.stat().st_uid == self.account.uid:
            return
        for folder, _, names in os.walk(path, topdown=False):
            for name in names:
                os.lchown(os.path.join(folder, name), *self.account)
            os.lchown(folder, *self.account)
        os.lchown(path, *self.account)


@contextmanager
def sole_owner(data_dir: Path) -> Iterator[Home]:
    """Create the folder if missing, and hold its lock. Raises EmbeddedError if another has it."""
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError:
        raise EmbeddedError(
            f"{data_dir} is a file, where the sandbox wants a folder; "
            "move it away, or name another folder in BUTIE_DATA_DIR"
        ) from None
    path = data_dir.resolve()
    require_space(path)
    with (path / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise already_running(path, lock.read().strip()) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        home = Home(path, engines_account(path))
        home.hand_over(path / "lock")
        yield home


def already_running(path: Path, pid: str) -> EmbeddedError:
    """The refusal of a second service; `pid` is empty when it is unknown."""
    who = f" (pid {pid})" if pid else ""
    return EmbeddedError(
        f"another Butie is running on this folder{who}: {path}; "
        "stop it first, or name another folder in BUTIE_DATA_DIR"
    )


def require_space(path: Path) -> None:
    """Raise EmbeddedError if the disk is nearly full. Later the engines would fail obscurely."""
    free_bytes = shutil.disk_usage(path).free
    if free_bytes < FREE_BYTES_MIN:
        raise EmbeddedError(
            f"only {free_bytes // 2**20} MiB are free on the disk of {path} and the sandbox wants "
            f"{FREE_BYTES_MIN // 2**20}; free some, or name another folder in BUTIE_DATA_DIR"
        )


def engines_account(path: Path) -> Account | None:
    """The user for the engines if we are root, as whom PostgreSQL refuses to run.

    The owner of the cluster, else of the folder, else the system's user `nobody`.
    """
    if os.geteuid() != 0:
        return None
    cluster = path / "postgres"
    if cluster.exists() and (owner := cluster.stat()).st_uid != 0:
        return Account(owner.st_uid, owner.st_gid)
    if (owner := path.stat()).st_uid != 0 and has_name(owner.st_uid):
        return Account(owner.st_uid, owner.st_gid)
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        return Account(NOBODY_UID, NOBODY_UID)
    return Account(nobody.pw_uid, nobody.pw_gid)


def has_name(uid: int) -> bool:
    """PostgreSQL creates no cluster for a user without a name in the system."""
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def new_password() -> str:
    """A random password that needs no quoting in a URL, in SQL or in a settings file."""
    return secrets.token_urlsafe(PASSWORD_BYTES)


def write_private(path: Path, text: str) -> None:
    """Write a file of mode 0600 atomically."""
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
