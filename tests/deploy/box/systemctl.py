#!/usr/bin/python3
"""Stands in for systemd where there is none: starts and stops units as their own files say.

User, environment, credentials and commands are the units'; what they shut out is not emulated, and
a timer starts its service once. Output goes to /var/log/units.
"""

import os
import pwd
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

FOLDERS = (Path("/etc/systemd/system"), Path("/usr/lib/systemd/system"))
PIDS, LOGS, CREDENTIALS = Path("/run/units"), Path("/var/log/units"), Path("/run/credentials")


class Unit:
    def __init__(self, name: str) -> None:
        self.name = name
        template, _, self.instance = name.partition("@")
        file = f"{template}@.service" if self.instance else f"{name}.service"
        self.credentials = CREDENTIALS / name
        self.pid = PIDS / name
        self.told: dict[str, list[str]] = defaultdict(list)
        for line in next(one / file for one in FOLDERS if (one / file).exists()).open():
            key, equals, value = line.strip().partition("=")
            if equals and not key.startswith("#"):
                value = value.replace("%d", str(self.credentials)).replace("%i", self.instance)
                self.told[key].append(value)

    def environment(self) -> dict[str, str]:
        lines = [word for one in self.told["Environment"] for word in shlex.split(one)]
        for file in self.told["EnvironmentFile"]:
            lines += Path(file).read_text().split()
        pairs = (line.partition("=") for line in lines)
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return {"PATH": path} | {name: value for name, _, value in pairs}

    def start(self) -> None:
        user = pwd.getpwnam(self.told["User"][0])
        self.credentials.mkdir(parents=True, exist_ok=True)
        for name, _, source in (one.partition(":") for one in self.told["LoadCredential"]):
            shutil.copy(source, self.credentials / name)
        made = [Path("/run") / one for one in self.told["RuntimeDirectory"]]
        for folder in made:
            folder.mkdir(exist_ok=True)
        for path in (self.credentials, *self.credentials.iterdir(), *made):
            os.chown(path, user.pw_uid, user.pw_gid)
        with (LOGS / self.name).open("a") as log:
            for command in self.told["ExecStartPre"]:
                assert self._run(command, user, log).wait() == 0, f"{self.name}: {command}"
            process = self._run(self.told["ExecStart"][0], user, log)
        self.pid.write_text(str(process.pid))
        if "oneshot" in self.told["Type"]:
            assert process.wait() == 0, f"{self.name} failed"

    def _run(self, command: str, user: pwd.struct_passwd, log: object) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            shlex.split(command),
            env=self.environment(),
            user=user.pw_uid,
            group=user.pw_gid,
            extra_groups=[],
            start_new_session=True,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,  # type: ignore[call-overload]
            stderr=subprocess.STDOUT,
        )

    def stop(self) -> None:
        if not self.pid.exists():
            return
        pid = int(self.pid.read_text())
        self.pid.unlink()
        if running(pid):
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + 60
        while running(pid):
            assert time.monotonic() < deadline, f"{self.name} does not end"
            time.sleep(0.1)


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # the second: ended while it was read
        return False


def postgresql(verb: str) -> None:
    """Debian's unit stands for one of each cluster, which this command starts and stops."""
    for cluster in Path("/etc/postgresql").glob("*/*"):
        command = ["pg_ctlcluster", "--skip-systemctl-redirect", *cluster.parts[-2:], verb]
        subprocess.run(command, check=verb == "start", stdout=subprocess.DEVNULL)


def obey(verb: str, name: str) -> None:
    stops, starts = verb in ("stop", "restart"), verb in ("start", "restart", "enable")
    if name == "postgresql":
        for wanted, act in ((stops, "stop"), (starts, "start")):
            if wanted:
                postgresql(act)
        return
    unit = Unit(name.removesuffix(".timer"))
    if stops:
        unit.stop()
    if starts:
        unit.start()


for folder in (PIDS, LOGS, CREDENTIALS):
    folder.mkdir(exist_ok=True)
words = [word for word in sys.argv[1:] if not word.startswith("--")]
for one in words[1:]:
    obey(words[0], one)
