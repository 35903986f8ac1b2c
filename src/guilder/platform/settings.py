"""Every setting: its name, meaning and default, read once from the environment and a file.

The environment wins over the file (``guilder.env``, or what ``GUILDER_CONFIG_FILE`` names). The
result is a frozen object that is handed on by constructors; nobody reads the environment later.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from dotenv import dotenv_values
from pydantic import (
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from guilder.platform.egress import allowed_receiver
from guilder.platform.identity_settings import IdentitySettings, OtpStore
from guilder.platform.notification_settings import NotificationSettings
from guilder.platform.startup import CannotStart

PREFIX: Final = "GUILDER_"
CONTEXTS: Final = (
    "analytics",
    "audit",
    "backoffice",
    "cards",
    "customers",
    "fx",
    "identity",
    "ledger",
    "notifications",
    "payments",
    "payroll",
    "risk",
    "social",
    "wallets",
    "webhooks",
)
"""Contexts that can be served by a process of their own, found at ``GUILDER_<CONTEXT>_URL``."""

_LOCAL: Final = ("127.0.0.1", "::1", "localhost")
_RATE: Final = re.compile(r"off|[1-9]\d{0,8}/(second|minute|hour|day)")
_REGION: Final = re.compile(r"[A-Z]{2}")
_POSTGRES: Final = ("postgresql", "postgres")
_SECRET_WORDS: Final = ("url", "token", "password", "passphrase", "secret", "options")
"""Settings whose values are never told back, as they may hold a secret."""
_SECRET_PART: Final = re.compile(r"(?<=:)[^:@/]+(?=@)|(?<=password=)[^&]+")


class WrongSettings(CannotStart):
    """Settings that cannot be used: one line for each, without any secret."""

    def __init__(self, lines: tuple[str, ...]) -> None:
        self._lines = lines
        super().__init__("; ".join(lines))

    @property
    def lines(self) -> tuple[str, ...]:
        return self._lines


class Environment(StrEnum):
    """What this installation is for."""

    SANDBOX = "sandbox"
    PRODUCTION = "production"


class LogLevel(StrEnum):
    """The least important message that is still logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """How a log line looks."""

    CONSOLE = "console"
    JSON = "json"


class Funding(StrEnum):
    """Where deposits come from and withdrawals go."""

    SIMULATED = "simulated"
    NONE = "none"


def _words(value: object) -> object:
    if isinstance(value, str):
        return tuple(word.strip() for word in value.split(",") if word.strip())
    return value


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


Words = Annotated[tuple[str, ...], BeforeValidator(_words)]
"""Written as a comma-separated list."""
Port = Annotated[int, Field(ge=1, le=65_535)]
Wait = Annotated[float, Field(ge=0, le=604_800)]


class Settings(IdentitySettings, NotificationSettings):
    """What an installation can be told. Sandbox defaults need nothing to be set."""

    env: Annotated[Environment, BeforeValidator(_lower)] = Field(
        default=Environment.SANDBOX,
        description="What this installation is for: sandbox or production. Production refuses "
        "simulators, failpoints and switched-off rate limits.",
    )
    data_dir: Path = Field(
        default=Path(".guilder"),
        description="Folder of everything Guilder keeps on disk: embedded PostgreSQL and keys.",
    )
    database_url: SecretStr | None = Field(
        default=None,
        description="A PostgreSQL 15 or newer to use instead of the embedded one, as "
        "postgresql://user:password@host:port/database.",
    )
    migration_database_url: SecretStr | None = Field(
        default=None,
        description="The same database as a user who may create roles and schemas; "
        "GUILDER_DATABASE_URL's user when not set.",
    )
    accept_no_checksums: bool = Field(
        default=False,
        description="Serve on a PostgreSQL whose data checksums are off, where its operator does "
        "not let you turn them on: what its disk garbles is then read as if it were true.",
    )
    host: str = Field(default="127.0.0.1", description="Address to serve HTTP on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to serve HTTP on.")
    workers: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Processes that serve HTTP. Background work has a process of its own.",
    )
    database_connections: int = Field(
        default=10,
        ge=2,
        le=500,
        description="Most connections to the database that one process opens, beside three that "
        "payments have to themselves; a server of your own has to take those of all processes.",
    )
    rate_limit: Annotated[str, BeforeValidator(_lower)] = Field(
        default="100/minute",
        description="Requests that each user may send, as 100/minute (second, minute, hour, day); "
        "off is for the sandbox only.",
    )
    log_level: Annotated[LogLevel, BeforeValidator(_lower)] = Field(
        default=LogLevel.INFO, description="debug, info, warning or error."
    )
    log_format: Annotated[LogFormat, BeforeValidator(_lower)] | None = Field(
        default=None,
        description="console or json; when not set, console in a sandbox and json in production.",
    )
    failpoints: str = Field(
        default="",
        description="Faults to inject, for tests only, as name=kill|raise|sleep:ms, with "
        "hit:n before the action to wait for the n-th pass. See `guilder failpoints`.",
    )
    allowed_hosts: Words = Field(
        default=(),
        description="Host names that requests may ask for, separated by commas; * is any. When "
        "not set: this machine's own names, or any when a sandbox serves on a network address. "
        "Production has to set it.",
    )
    cors_origins: Words = Field(
        default=(),
        description="Web origins that browsers may call from, separated by commas.",
    )
    trusted_proxies: Words = Field(
        default=(),
        description="Addresses or networks of proxies whose X-Forwarded headers are believed; for "
        "a context that is served alone, the gateway's.",
    )
    metrics_token: SecretStr | None = Field(
        default=None,
        description="Bearer token that /metrics asks for; when not set, there is no /metrics.",
    )
    admin_password: SecretStr | None = Field(
        default=None,
        description="Password for `guilder admin create`, which asks for it when not set.",
    )
    redis_url: SecretStr | None = Field(
        default=None,
        description="Redis that shares rate limits between processes, as redis://host:port/0, and "
        "one-time codes where GUILDER_OTP_STORE says so.",
    )
    default_region: str = Field(
        default="IN", description="Country of phone numbers that name none (ISO 3166, two letters)."
    )
    wallets_per_user: int = Field(
        default=100,
        ge=1,
        description="How many wallets somebody may open, closed ones included.",
    )
    time_zone: str = Field(
        default="Asia/Kolkata", description="Time zone in which a customer's day begins."
    )
    high_value_transfers: Words = Field(
        default=(),
        description="Amounts above which a transfer has to be verified, by currency, as INR 50000, "
        "USD 600; a currency that is not named keeps about what 50,000 INR is worth.",
    )
    funding: Annotated[Funding, BeforeValidator(_lower)] | None = Field(
        default=None,
        description="Where deposits come from: simulated (a settlement account of play money) or "
        "none; when not set, simulated in a sandbox and none in production.",
    )
    audit_heads_dir: Path | None = Field(
        default=None,
        description="Folder outside the database where signed heads of the audit chains and of "
        "the ledger are published; heads in GUILDER_DATA_DIR when not set. Copy it elsewhere.",
    )
    audit_heads_s3: str | None = Field(
        default=None,
        pattern=r"^s3://.+",
        description="Bucket that gets a copy of each publication, as s3://bucket/prefix; it needs "
        "the extra s3, and credentials from the usual AWS_ variables or the machine's role.",
    )
    audit_publish_every_s: int = Field(
        default=300, ge=1, le=86_400, description="Seconds between two publications of heads."
    )
    audit_denials_per_second: int = Field(
        default=100,
        ge=4,
        le=10_000,
        description="Most denied requests that one process records in a second; of more, only "
        "their number.",
    )
    egress_ports: Annotated[tuple[Port, ...], BeforeValidator(_words)] = Field(
        default=(80, 443),
        description="Ports of webhook receivers that may be called, separated by commas. "
        "Production calls https only.",
    )
    egress_allow: Words = Field(
        default=(),
        description="Receivers of tests that may be called although their address is not public, "
        "as 127.0.0.1:9000 or 127.0.0.1:*, separated by commas; refused in production.",
    )
    webhook_retry_s: Annotated[tuple[Wait, ...], BeforeValidator(_words)] = Field(
        default=(5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400),
        description="Seconds between the attempts of a webhook delivery, separated by commas, "
        "before jitter; it is given up after the last.",
    )
    webhook_timeout_s: float = Field(
        default=15, gt=0, le=60, description="Seconds that a webhook receiver has to answer."
    )
    webhook_disable_after_s: int = Field(
        default=432_000,
        ge=0,
        description="Seconds after which a webhook endpoint that does nothing but fail is "
        "disabled.",
    )
    kafka_bootstrap: str | None = Field(
        default=None,
        description="Brokers of a Kafka that carries events between processes, as host:9092, "
        "several separated by commas; PostgreSQL carries them when not set. Needs the extra kafka.",
    )
    kafka_options: SecretStr | None = Field(
        default=None,
        description="More options of librdkafka, as security.protocol=SASL_SSL, several separated "
        "by semicolons.",
    )
    event_retention_days: float = Field(
        default=7,
        ge=0.01,
        le=3650,
        description="Days that events are kept in the outbox once every group has read them. Kafka "
        "must keep its messages for less than twice as long.",
    )
    sink_file: Path | None = Field(
        default=None,
        description="File that a copy of each email, SMS and push is appended to as a JSON line, "
        "for tests; refused in production.",
    )
    service_urls: Mapping[str, str] = Field(
        default_factory=dict,
        description="GUILDER_<CONTEXT>_URL (as GUILDER_LEDGER_URL): where a context is served by "
        "another process, to which the gateway passes its requests on.",
    )

    @property
    def is_production(self) -> bool:
        """Whether real money may be at stake."""
        return self.env is Environment.PRODUCTION

    @property
    def base_url(self) -> str:
        """Where this installation is reached, without a slash at the end."""
        # one name for this machine: a browser keeps the cookies of each of its names apart
        host = "localhost" if self.host in _LOCAL else self.host
        return self.public_url or f"http://{host}:{self.port}"

    @property
    def heads_dir(self) -> Path:
        """Where signed heads are published."""
        return self.audit_heads_dir or self.data_dir / "heads"

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names besides this machine's own that requests may ask for; ``*`` is any."""
        if self.allowed_hosts or self.host in _LOCAL:
            return self.allowed_hosts
        return ("*",)

    @property
    def funds_simulated(self) -> bool:
        """Whether deposits come from a simulated settlement account."""
        default = Funding.NONE if self.is_production else Funding.SIMULATED
        return (self.funding or default) is Funding.SIMULATED

    @property
    def logs_json(self) -> bool:
        """Whether log lines are JSON."""
        default = LogFormat.JSON if self.is_production else LogFormat.CONSOLE
        return (self.log_format or default) is LogFormat.JSON

    @field_validator("rate_limit")
    @classmethod
    def _rate_is_readable(cls, value: str) -> str:
        if not _RATE.fullmatch(value):
            raise ValueError("write it as 100/minute, or off")
        return value

    @field_validator("default_region")
    @classmethod
    def _region_is_a_code(cls, value: str) -> str:
        if not _REGION.fullmatch(value):
            raise ValueError("two capital letters, as IN")
        return value

    @field_validator("time_zone")
    @classmethod
    def _zone_exists(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, OSError, ValueError):
            raise ValueError("no such time zone; write it as Asia/Kolkata") from None
        return value

    @field_validator("database_url", "migration_database_url")
    @classmethod
    def _is_postgres(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and urlsplit(value.get_secret_value()).scheme not in _POSTGRES:
            raise ValueError("it starts with postgresql://")
        return value

    @field_validator("egress_allow")
    @classmethod
    def _are_receivers(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            allowed_receiver(text)
        return value

    @field_validator("service_urls")
    @classmethod
    def _are_web_addresses(cls, value: Mapping[str, str]) -> Mapping[str, str]:
        for context, url in value.items():
            parts = urlsplit(url)
            if parts.scheme not in {"http", "https"} or not parts.netloc:
                raise ValueError(f"{context}: it starts with http:// or https://")
        return value

    @model_validator(mode="after")
    def _production_is_strict(self) -> Self:
        if self.migration_database_url and not self.database_url:
            raise ValueError("GUILDER_MIGRATION_DATABASE_URL needs GUILDER_DATABASE_URL as well")
        if self.otp_store is OtpStore.REDIS and not self.redis_url:
            raise ValueError("GUILDER_OTP_STORE=redis needs GUILDER_REDIS_URL as well")
        if not self.is_production:
            return self
        if self.failpoints:
            raise ValueError("GUILDER_FAILPOINTS is refused in production")
        if not self.allowed_hosts:
            raise ValueError("GUILDER_ALLOWED_HOSTS has to be set in production")
        if self.egress_allow:
            raise ValueError("GUILDER_EGRESS_ALLOW is refused in production")
        if self.sink_file:
            raise ValueError("GUILDER_SINK_FILE is refused in production")
        if self.rate_limit == "off":
            raise ValueError("GUILDER_RATE_LIMIT=off is refused in production")
        if not self.base_url.startswith("https:"):
            raise ValueError("GUILDER_PUBLIC_URL has to be set in production, with https")
        return self


def load(environ: Mapping[str, str], *, folder: Path) -> tuple[Settings, tuple[str, ...]]:
    """Read the settings, with a warning for each ``GUILDER_`` variable that means nothing.

    ``guilder.env`` is looked for in ``folder``. A variable that is set to nothing counts as unset.

    Raises:
        WrongSettings: a value cannot be used, or the named file cannot be read.
    """
    given = {**_from_file(environ, folder), **_ours(environ)}
    given = {name: value for name, value in given.items() if value.strip()}
    given.pop(f"{PREFIX}CONFIG_FILE", None)
    fields: dict[str, Any] = {}
    unknown = []
    for variable, value in given.items():
        name = variable.removeprefix(PREFIX).lower()
        context = name.removesuffix("_url")
        if name in Settings.model_fields and name != "service_urls":
            fields[name] = value
        elif name.endswith("_url") and context in CONTEXTS:
            fields.setdefault("service_urls", {})[context] = value.rstrip("/")
        else:
            unknown.append(f"{variable} is not a setting of Guilder; see `guilder settings`")
    try:
        return Settings(**fields), tuple(sorted(unknown))
    except ValidationError as error:
        raise WrongSettings(tuple(_line(problem) for problem in error.errors())) from None


def load_here() -> tuple[Settings, tuple[str, ...]]:
    """`load` from this process's environment and working folder."""
    return load(os.environ, folder=Path.cwd())


def shown(settings: Settings) -> list[tuple[str, str, str, str]]:
    """Variable, meaning, default and current value of each setting; secrets are masked."""
    rows = []
    fields = Settings.model_fields.items()
    for name, about in sorted(fields, key=lambda field: field[0] in IdentitySettings.model_fields):
        variable = f"{PREFIX}<CONTEXT>_URL" if name == "service_urls" else PREFIX + name.upper()
        default = about.get_default(call_default_factory=True)
        value = _text(getattr(settings, name))
        rows.append((variable, about.description or "", _text(default), value))
    return rows


def _ours(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name.startswith(PREFIX)}


def _from_file(environ: Mapping[str, str], folder: Path) -> dict[str, str]:
    named = environ.get(f"{PREFIX}CONFIG_FILE", "").strip()
    file = folder / (named or "guilder.env")
    if named and not file.is_file():
        raise WrongSettings((f"GUILDER_CONFIG_FILE: there is no file {file}",))
    if not file.is_file():
        return {}
    values = dotenv_values(file, interpolate=False)
    return _ours({name: value for name, value in values.items() if value is not None})


def _line(problem: Mapping[str, Any]) -> str:
    message = str(problem["msg"]).removeprefix("Value error, ")
    place = problem["loc"]
    if not place:
        return message
    name = str(place[0])
    variable = f"{PREFIX}<CONTEXT>_URL" if name == "service_urls" else PREFIX + name.upper()
    given = problem["input"]
    is_secret = any(word in name for word in _SECRET_WORDS)
    shown_value = "" if is_secret else f"{given!r} cannot be used: "
    return f"{variable}: {shown_value}{message[:1].lower()}{message[1:]}"


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, SecretStr):
        return (
            _SECRET_PART.sub("***", value.get_secret_value())
            if "://" in (value.get_secret_value())
            else "***"
        )
    if isinstance(value, tuple):
        return ",".join(str(item) for item in value)
    if isinstance(value, Mapping):
        return ",".join(f"{name}={url}" for name, url in sorted(value.items()))
    return str(value)
