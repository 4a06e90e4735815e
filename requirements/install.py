"""Installs a lock, and Butie itself, into .venv: `.venv/bin/python requirements/install.py NAME`.

uv does it in a fraction of pip's time: it downloads, unpacks and compiles on all cores. pip brings
uv, by its own lock. Where uv has no wheel or fails, pip does it all.
"""

import ast
import os
import subprocess
import sys
from pathlib import Path

LOCKS = Path(__file__).parent
VENV = Path(sys.prefix)
UV = VENV / "uv"
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
QUIET = ["-qq", "--root-user-action=ignore"]
LOCKED = ["--require-hashes", "--no-deps"]
OURSELVES = ["--no-deps", "--no-build-isolation", "--editable", "."]

# How uv calls what pip's configuration says. The lock's hashes are checked, so it does not matter
# which index a file comes from. `extra-index-url` is left out: where it does not answer, uv waits
# and fails. Where only it has a package, uv says so at once, and pip installs.
SAME_IN_UV = {
    "index-url": "UV_DEFAULT_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "proxy": "ALL_PROXY",
    "timeout": "UV_HTTP_TIMEOUT",
    "no-index": "UV_NO_INDEX",
}
COMMAS = {"UV_FIND_LINKS"}


def main() -> int:
    lock = str(LOCKS / f"{sys.argv[1]}.txt")
    if brings_uv() and installs_with_uv(lock):
        return 0
    return subprocess.run([*PIP, "install", *QUIET, *LOCKED, "-r", lock]).returncode or (
        subprocess.run([*PIP, "install", *QUIET, *OURSELVES]).returncode
    )


def brings_uv() -> bool:
    """Whether uv is in .venv/uv, of the locked version. `pip install` puts it there."""
    uv_lock = LOCKS / "uv.txt"
    installed = UV / "lock.txt"
    if installed.exists() and installed.read_text() == uv_lock.read_text():
        return True
    command = [*PIP, "install", *QUIET, *LOCKED, "--only-binary", ":all:", "--no-compile"]
    command += ["--upgrade", "--target", str(UV), "-r", str(uv_lock)]
    if not succeeds(command):
        return False
    installed.write_text(uv_lock.read_text())
    return True


def installs_with_uv(lock: str) -> bool:
    environment = uv_settings(pip_settings()) | os.environ
    command = [str(UV / "bin/uv"), "pip", "install", "--quiet", "--no-config"]
    command += ["--python", sys.executable]
    return all(
        succeeds([*command, *what], environment)
        for what in (["--compile-bytecode", *LOCKED, "-r", lock], OURSELVES)
    )


def succeeds(command: list[str], environment: dict[str, str] | None = None) -> bool:
    """Whether a command of uv's succeeds. Otherwise prints its last line: pip is tried next."""
    ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    if ended.returncode:
        lines = ended.stderr.strip().splitlines() or [f"it ended with {ended.returncode}"]
        print(f"uv: {lines[-1].strip()}\npip installs instead ...", file=sys.stderr)
    return ended.returncode == 0


def pip_settings() -> dict[str, str]:
    """pip's settings, from its files and its environment; the later of its sources win."""
    listed = subprocess.run([*PIP, "config", "list"], capture_output=True, text=True).stdout
    sections: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        section, _, setting = name.partition(".")
        if section in sections:
            sections[section][setting.removeprefix("default-")] = str(ast.literal_eval(value))
    return sections["global"] | sections["install"] | sections[":env:"]


def uv_settings(pip: dict[str, str]) -> dict[str, str]:
    """The environment in which uv takes packages from where pip takes them."""
    settings = {"UV_INDEX_STRATEGY": "unsafe-best-match", "UV_SYSTEM_CERTS": "1"}
    for name, value in pip.items():
        if name in SAME_IN_UV:
            variable = SAME_IN_UV[name]
            settings[variable] = ("," if variable in COMMAS else " ").join(value.split())
    return settings


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("Stopped.")
