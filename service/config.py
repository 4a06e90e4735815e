"""Every setting, read in this one place from `BUTIE_*` variables or secret files."""

import os
from collections.abc import Mapping
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from pydantic import Field, PostgresDsn, RedisDsn, SecretStr
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
)

PII_KEY_LENGTH_MIN = 32

# Public on purpose: it guards invented persons only, and is refused outside the sandbox.
SANDBOX_PII_KEY = "sandbox-key-for-made-up-people-only"


class Misconfigured(Exception):
    """A setting is wrong; the text says which, and what to do."""


TraceExporter = Literal["otlp", "console"]


def trace_exporter(environment: Mapping[str, str]) -> TraceExporter | None:
    """The exporter that OpenTelemetry's standard variables ask for; None by default. The SDK itself
    reads the other variables. Raises Misconfigured."""
    exporter = _trace_exporter(environment)
    if exporter is not None and find_spec("opentelemetry.sdk") is None:
        raise Misconfigured(
            "Traces are asked for (OTEL_…) and OpenTelemetry's SDK is not installed: "
            "pip install 'butie[tracing]', or set OTEL_SDK_DISABLED=true."
        )
    return exporter


def _trace_exporter(environment: Mapping[str, str]) -> TraceExporter | None:
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    default = "otlp" if any(environment.get(name) for name in endpoints) else "none"
    match environment.get("OTEL_TRACES_EXPORTER") or default:
        case "none":
            return None
        case "console":
            return "console"
        case "otlp":
            _check_protocol(environment)
            return "otlp"
    raise Misconfigured("OTEL_TRACES_EXPORTER is otlp, console or none.")


def _check_protocol(environment: Mapping[str, str]) -> None:
    for name in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if environment.get(name, "http/protobuf") != "http/protobuf":
            raise Misconfigured(f"{name}: only http/protobuf is spoken here (port 4318 mostly).")


class Settings(BaseSettings):
    """The service's settings; each field is the variable `BUTIE_<FIELD>`."""

    model_config = SettingsConfigDict(env_prefix="BUTIE_", extra="ignore", frozen=True)

    database_url: PostgresDsn | None = Field(
        None, description="PostgreSQL 15+; with this and the Redis URL unset, a sandbox starts"
    )
    export_database_url: PostgresDsn | None = Field(
        None, description="a streaming standby to read exports, totals and reconciliations from"
    )
    redis_url: RedisDsn | None = Field(None, description="Redis 7+ or Valkey: the gate")
    data_dir: Path = Field(Path(".butie"), description="the sandbox's data")
    clock: str | None = Field(
        None, description="start of the business clock (RFC 3339), or `now`; sandbox only"
    )
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    workers: int = Field(1, ge=1, le=64)
    jurisdiction: str = Field("330402", pattern=r"^[0-9]{6}$")
    pii_key: SecretStr | None = Field(
        None, description="key of the personal-data digests, at least 32 characters"
    )
    pii_keys_former: SecretStr | None = Field(
        None, description="earlier personal-data keys, oldest first, separated by blanks"
    )
    pii_rotating: bool = Field(
        False, description="while a key is replaced: quotas are booked under the former key as well"
    )
    policies_dir: Path | None = Field(None, description="policy files instead of the shipped ones")
    refuse_assumed: bool = Field(False, description="refuse to start on an unconfirmed value")
    confirmations: Path | None = Field(None, description="file of the confirmed assumed values")
    gate_mode: Literal["ledger", "refuse"] = Field(
        "ledger", description="without Redis: claims by the ledger alone, or 503"
    )
    hold_minutes: int = Field(15, ge=1, le=1440, description="how long a hold lasts")
    pool_parts: int = Field(
        0,
        ge=0,
        le=64,
        description="extra budget rows per pool, so that many workers can commit at "
        "once; irreversible; set it only when every host runs this release",
    )
    answer_within_ms: int = Field(
        800, ge=100, le=60_000, description="a claim that takes longer is answered with 503"
    )
    body_max_bytes: int = Field(256 * 1024, ge=1024, description="a larger request gets 413")
    requests_max: int = Field(
        1000, ge=1, description="requests at once in each worker; more are answered with 503"
    )
    rate_limit_per_s: int | None = Field(
        None, ge=1, description="requests a second of each key, over all workers; unset: no limit"
    )
    rate_limit_burst: int | None = Field(
        None, ge=1, description="how many a key may send at once; unset: ten seconds' worth"
    )
    board: Literal["open", "private", "public", "off"] | None = Field(
        None,
        description="/board: everything for everyone (open), with a budgets:read key (private), "
        "the public view for everyone (public), or off; unset: private, and open in the sandbox",
    )
    log_format: Literal["json", "console"] | None = Field(
        None, description="one JSON object a line, or text for people (the sandbox's default)"
    )
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    secrets_dir: Path | None = Field(
        None, description="folder of secrets: a file for each, named like the variable"
    )
    service_role: str | None = Field(
        None, description="the role that `butie migrate` lets do the service's work, and no more"
    )

    sandbox_offset_s: int | None = Field(
        None, description="set by `butie serve` for its workers in the sandbox; not for you"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then variables, then secret files. Raises Misconfigured."""
        folder = os.environ.get("BUTIE_SECRETS_DIR")
        if not folder:
            return init_settings, env_settings
        return init_settings, env_settings, _secret_files(settings_cls, Path(folder))

    @property
    def sandbox(self) -> bool:
        """Whether neither engine is given, so that the sandbox brings its own."""
        return self.sandbox_offset_s is not None or (
            self.database_url is None and self.redis_url is None
        )

    @property
    def board_mode(self) -> Literal["open", "private", "public", "off"]:
        """Who sees the budget page."""
        return self.board or ("open" if self.sandbox else "private")

    @property
    def standby_url(self) -> str | None:
        """Where finance reads, if not from the ledger itself."""
        return str(self.export_database_url) if self.export_database_url else None

    @property
    def clock_offset(self) -> timedelta:
        """Business time minus real time; negative in a sandbox of the past."""
        return timedelta(seconds=self.sandbox_offset_s or 0)

    def personal_data_keys(self) -> tuple[str, ...]:
        """All keys of the personal-data digests, oldest first. Raises Misconfigured."""
        former = self.pii_keys_former.get_secret_value() if self.pii_keys_former else ""
        keys = (*former.split(), self.personal_data_key())
        if min(map(len, keys)) < PII_KEY_LENGTH_MIN:
            raise Misconfigured(
                f"BUTIE_PII_KEYS_FORMER: a key has {PII_KEY_LENGTH_MIN} characters or more."
            )
        if len(set(keys)) < len(keys):
            raise Misconfigured("BUTIE_PII_KEY is also in BUTIE_PII_KEYS_FORMER: each key once.")
        if self.pii_rotating and len(keys) == 1:
            raise Misconfigured("BUTIE_PII_ROTATING needs the former key in BUTIE_PII_KEYS_FORMER.")
        return keys

    def personal_data_key(self) -> str:
        """The key of the personal-data digests. Raises Misconfigured."""
        if self.pii_key is not None:
            key = self.pii_key.get_secret_value()
        elif self.sandbox:
            key = SANDBOX_PII_KEY
        else:
            raise Misconfigured(
                "Set BUTIE_PII_KEY: 32 random characters or more. Keep it permanently."
            )
        if not self.sandbox and key == SANDBOX_PII_KEY:
            raise Misconfigured("BUTIE_PII_KEY is the sandbox's, which is public: make your own.")
        if len(key) < PII_KEY_LENGTH_MIN:
            raise Misconfigured(f"BUTIE_PII_KEY needs {PII_KEY_LENGTH_MIN} characters or more.")
        return key


def _secret_files(settings_cls: type[BaseSettings], folder: Path) -> SecretsSettingsSource:
    if not folder.is_dir():
        raise Misconfigured(f"BUTIE_SECRETS_DIR is {folder}, which is no folder.")
    for file in folder.iterdir():
        if file.is_file() and not os.access(file, os.R_OK):
            raise Misconfigured(
                f"{file} cannot be read by user {os.geteuid()}: let that user read it."
            )
    return SecretsSettingsSource(settings_cls, secrets_dir=folder)
