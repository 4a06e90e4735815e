"""Other users of this host cannot read the secrets."""

import stat
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from service.doctor.check import CheckResult, Patient, fault, ok

READABLE_BY_OTHERS = stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP
# The URL parameters that name a private key or a password file.
KEY_FILES = ("sslkey", "ssl_keyfile", "passfile")


async def check_secrets(patient: Patient) -> AsyncIterator[CheckResult]:
    files = [path for path in _secret_files(patient) if path.is_file()]
    for path in files:
        mode = path.stat().st_mode
        if mode & READABLE_BY_OTHERS:
            yield fault(f"{path} is open to others ({mode & 0o777:o})", f"chmod 600 {path}")
    yield ok(f"{len(files)} files of secrets" if files else "no secrets in files of ours")


def _secret_files(patient: Patient) -> Iterator[Path]:
    folder = patient.settings.secrets_dir
    if folder is not None and folder.is_dir():
        # An orchestrator's secrets are links into a folder that it replaces.
        yield from sorted(path.resolve() for path in folder.iterdir())
    if patient.settings.sandbox:
        yield patient.settings.data_dir / "sandbox.json"
    for url in (patient.database_url, patient.redis_url):
        query = parse_qs(urlsplit(url or "").query)
        yield from (Path(path) for name in KEY_FILES for path in query.get(name, ()))
