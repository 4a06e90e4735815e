"""The page for one box without Docker, followed from top to bottom on a Debian of its own.

There is no systemd: its units are started by what their files say (box/systemctl.py), and read by
systemd's own reader. The box has processes, mounts and a network of its own, loopback alone.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.builders import checkout_json, item_json, resident_id, serial
from tests.deploy.conftest import DEPLOY, ROOT, tool

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

PAGE = (DEPLOY / "README.md").read_text()
UNITS = sorted((DEPLOY / "systemd").iterdir())
# Each with the name that the page gives its gate's package, folder and unit.
RELEASES = {"trixie": "valkey", "bookworm": "redis"}


def section(title: str) -> list[str]:
    """The commands of a part of the page, a block each."""
    text = PAGE.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"^```\n(.*?)^```$", text, re.M | re.S)


INSTALL, ENGINES, SERVICE, DESK, UPGRADE, RESTORE = section("One box without Docker")
(FIRST_RETAILER,) = (block for block in section("One box with Docker") if "retailer add" in block)

# `sell KEY N` prints the claim of the N-th of the sales that lie there.
SELL = """
sell() { python3 - "$@" <<'PYTHON'
import json, sys, urllib.request
sale = json.load(open("sales.json"))[int(sys.argv[2])]
headers = {"Authorization": f"Bearer {sys.argv[1]}", "Idempotency-Key": sale["order_no"],
           "Content-Type": "application/json"}
ask = urllib.request.Request("http://127.0.0.1:8000/v1/claims", json.dumps(sale).encode(), headers)
print(json.load(urllib.request.urlopen(ask, timeout=60))["claim_id"])
PYTHON
}
up() { butie migrate --wait 60; until python -m service.ops.probe; do sleep 1; done; }
"""


class Box:
    def __init__(self, root: Path) -> None:
        self.root = root

    def run(self, script: str, *, online: bool = False) -> str:
        """What a root shell says there; all that it started ends with it."""
        new = ["--mount", "--propagation=private", "--pid", "--fork", "--kill-child"]
        inside = """
            mount -t proc proc "$1/proc"; mount --rbind /dev "$1/dev"; mount -t tmpfs tmpfs "$1/run"
            [[ $2 ]] || ip link set lo up
            exec chroot "$1" env -i "${@:4}" bash -euxo pipefail -c "$3"
        """
        variables = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            "LC_ALL": "C.UTF-8",
            "DEBIAN_FRONTEND": "noninteractive",
            "COLUMNS": "300",
        }
        if online:
            variables |= package_index()
        words = [f"{name}={text}" for name, text in variables.items()]
        ended = subprocess.run(
            ["unshare", *new, *(() if online else ("--net",)), "bash", "-euc", inside, "box",
             str(self.root), "yes" if online else "", f"cd /butie\n{script}", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=1200,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stdout[-6000:]
        return ended.stdout


def package_index() -> dict[str, str]:
    """What this machine needs to reach its package index, if anything."""
    asked = subprocess.run(
        ["python3", "-m", "pip", "config", "get", "global.index-url"],
        capture_output=True,
        text=True,
    )
    index = {"PIP_INDEX_URL": asked.stdout.strip()} if asked.returncode == 0 else {}
    return {
        "PIP_CERT": "/etc/ssl/certs/ca-certificates.crt",
        "PIP_ROOT_USER_ACTION": "ignore",
    } | index


def mirror() -> str:
    """Where this machine itself gets Debian."""
    told = subprocess.check_output(
        ["apt-get", "indextargets", "--format", "$(COMPONENT) $(REPO_URI)", "Created-By: Packages"],
        text=True,
    )
    found = [line.split()[1] for line in told.splitlines() if line.startswith("main ")]
    if not found:
        pytest.skip("this machine's apt knows no Debian (apt-get update?)")
    return found[0]


@pytest.fixture(params=RELEASES.items(), ids=" ".join)
def box(request: pytest.FixtureRequest) -> Iterator[Box]:
    release, store = request.param
    bootstrap = tool("debootstrap", Path("/usr/sbin"))
    tool("ip", Path("/usr/sbin"))
    tool("git")
    if not (ROOT / ".git").exists():
        pytest.skip("needs a clone, whose files git can list")
    if os.geteuid() != 0:
        pytest.skip("only root can lay out a Debian")
    root = Path(tempfile.mkdtemp(prefix="butie-box."))
    root.chmod(0o755)  # it is everybody's /
    try:
        for attempt in (1, 2):  # a mirror may falter once
            command = [bootstrap, "--variant=minbase", "--include=ca-certificates", release]
            made = subprocess.run([*command, root, mirror()], capture_output=True, text=True)
            if made.returncode == 0:
                break
            assert attempt == 1, made.stdout[-2000:]
        lay_out(root)
        made_box = Box(root)
        made_box.run(INSTALL.replace("V=valkey", f"V={store}"), online=True)
        made_box.store = store  # type: ignore[attr-defined]
        yield made_box
    finally:
        shutil.rmtree(root)


def lay_out(root: Path) -> None:
    """The clone, what this machine needs to reach its registries, and systemd's stand-in."""
    files = subprocess.check_output(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, text=True
    )
    for name in files.split("\0")[:-1]:
        if (ROOT / name).exists():
            (root / "butie" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / "butie" / name)
    for path in (Path("/etc/ssl/certs/ca-certificates.crt"), Path("/etc/resolv.conf")):
        shutil.copy(path, root / path.relative_to("/"))
    shutil.copytree("/etc/apt/apt.conf.d", root / "etc/apt/apt.conf.d", dirs_exist_ok=True)
    (root / "etc/apt/apt.conf.d/zz").write_text('APT::Install-Recommends "false";\n')
    for name, text in (
        ("usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n"),
        ("usr/local/bin/systemctl", (ROOT / "tests/deploy/box/systemctl.py").read_text()),
    ):
        (root / name).write_text(text)
        (root / name).chmod(0o755)


def sale(n: int) -> dict[str, Any]:
    return checkout_json(
        sold_at=datetime.now(UTC).isoformat(timespec="seconds"),
        order_no=f"box-{n}",
        consumer={"id_type": "resident_id", "id_number": resident_id(n)},
        items=[item_json(category="refrigerator", serial_no=serial(n))],
    )


def test_the_page_can_be_followed_from_top_to_bottom(box: Box) -> None:
    (box.root / "butie/sales.json").write_text(json.dumps([sale(n) for n in range(3)]))
    first_retailer = FIRST_RETAILER.replace("dc exec -e USER=li.wei service ", "")
    said = box.run(
        "\n".join(
            (
                f"V={box.store}",  # type: ignore[attr-defined]
                SELL,
                "git() { test $1 = pull; }",
                ENGINES,
                SERVICE,
                f"{DESK.rstrip()} | tee doctor",
                "up",
                f"{first_retailer.rstrip()} | tee key",
                "KEY=$(grep -o 'butie_[A-Za-z0-9_-]*' key | head -1)",
                "FIRST=$(sell $KEY 0)",
                "until ls /var/backups/butie/base/*Z; do sleep 1; done",
                "SECOND=$(sell $KEY 1)",
                RESTORE,
                "up",
                "test $FIRST = $(sell $KEY 0)",
                "test $SECOND = $(sell $KEY 1)",
                UPGRADE,
                "up",
                "sell $KEY 2",
                "butie journal verify",
            )
        )
    )
    doctor = (box.root / "butie/doctor").read_text()
    assert "fault" not in doctor and "unknown" not in doctor, doctor
    for sentence in ("noeviction", "streamed from slot butie_backup", "no append-only file"):
        assert sentence in doctor, doctor
    assert "no checksums" not in doctor and "without the password" not in doctor, doctor
    assert "holds" in said


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_systemd_understands_each_unit(unit: Path, tmp_path: Path) -> None:
    analyze = tool("systemd-analyze")
    for one in UNITS:  # the programs need not be here
        text = re.sub(r"(?<==)/opt/butie/[\w./]+", "/bin/true", one.read_text())
        (tmp_path / one.name.replace("@.", "@log.")).write_text(text)
    name = unit.name.replace("@.", "@log.")
    ended = subprocess.run(
        [analyze, "verify", "--man=no", tmp_path / name],
        env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
    )
    ours = [line for line in ended.stderr.splitlines() if "butie" in line]
    assert ours == [], ended.stderr
