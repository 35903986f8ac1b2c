"""Settings of identity: the keys that sign and encrypt, sign-in, codes, and people's data."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from guilder.platform.key_files import LEAST_PASSPHRASE_CHARACTERS

_PUBLIC_URL: Final = re.compile(
    r"(https://[a-z0-9.-]+|http://(localhost|127\.0\.0\.1))(:[0-9]{1,5})?", re.ASCII
)
# Browsers offer passkeys in secure contexts only.
# Browsers offer passkeys in secure contexts only.
_ORIGIN: Final = re.compile(r"(https://[a-z0-9.-]+|http://localhost)(:[0-9]{1,5})?", re.ASCII)


def _words(value: object) -> object:
    if isinstance(value, str):
        return tuple(word.strip() for word in value.split(",") if word.strip())
    return value


class OtpStore(StrEnum):
    """Where one-time codes are kept."""

    DATABASE = "database"
    REDIS = "redis"


class IdentitySettings(BaseModel):
    """What an installation can be told about identity; a part of `Settings`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    public_url: str | None = Field(
        default=None,
        description="Address that people and programs reach this installation at, as "
        "https://bank.example; access tokens name it as their issuer. It is needed in production; "
        "in a sandbox http:// with GUILDER_HOST, or localhost, and GUILDER_PORT when not set, with "
        "guilder as the issuer, which OAuth libraries that compare the two do not take.",
    )
    sign_in_providers: Path | None = Field(
        default=None,
        description="File (JSON) of the providers that people may sign in with, by name: client_id "
        "and client_secret of google, github or another one, which also says its issuer.",
    )
    personal_retention_days: float = Field(
        default=1826,
        ge=0,
        le=36_500,
        description="Days after somebody's last payment during which staff cannot erase them, "
        "because the law wants it known who paid; five years if not set.",
    )
    key_passphrase: SecretStr | None = Field(
        default=None,
        description="Passphrase that encrypts the key files in GUILDER_DATA_DIR, of 12 characters "
        "or more. `guilder keys encrypt` encrypts those that are there already.",
    )
    key_passphrase_file: Path | None = Field(
        default=None,
        description="File whose first line is that passphrase, instead of GUILDER_KEY_PASSPHRASE.",
    )
    key_rotation_days: int = Field(
        default=90,
        ge=0,
        le=3650,
        description="Days after which a new key signs access tokens; 0 leaves it to "
        "`guilder keys rotate`.",
    )
    otp_store: OtpStore = Field(
        default=OtpStore.DATABASE,
        description="Where one-time codes are kept while they live: database or redis (the one of "
        "GUILDER_REDIS_URL; needs the extra redis).",
    )

    passkey_origins: Annotated[tuple[str, ...], BeforeValidator(_words)] = Field(
        default=(),
        description="Web origins that passkeys are used from, as https://bank.example, separated "
        "by commas; GUILDER_PUBLIC_URL when not set, or http://localhost with GUILDER_PORT.",
    )
    passkey_domain: str | None = Field(
        default=None,
        description="Domain that passkeys belong to, a suffix of each origin's host; the host of "
        "the first origin when not set. Passkeys of another domain work no more.",
    )

    @field_validator("public_url")
    @classmethod
    def _public_url_is_an_address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        value = value.rstrip("/")
        if not _PUBLIC_URL.fullmatch(value):
            raise ValueError("it is https:// and a host, as https://bank.example")
        return value

    @field_validator("passkey_origins")
    @classmethod
    def _origins_are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            if not _ORIGIN.fullmatch(text):
                raise ValueError(f"{text} is no origin, as https://bank.example is one")
        return value

    @field_validator("key_passphrase")
    @classmethod
    def _passphrase_is_long(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < LEAST_PASSPHRASE_CHARACTERS:
            raise ValueError(f"it has fewer than {LEAST_PASSPHRASE_CHARACTERS} characters")
        return value

    @model_validator(mode="after")
    def _passkeys_are_of_their_origins(self) -> Self:
        hosts = [urlsplit(origin).hostname or "" for origin in self.passkey_origins]
        domain = self.passkey_domain or (hosts[0] if hosts else None)
        if any(host != domain and not host.endswith(f".{domain}") for host in hosts):
            raise ValueError(
                f"GUILDER_PASSKEY_ORIGINS are not all of GUILDER_PASSKEY_DOMAIN, {domain}"
            )
        return self

    @model_validator(mode="after")
    def _one_passphrase(self) -> Self:
        if self.key_passphrase and self.key_passphrase_file:
            raise ValueError("set GUILDER_KEY_PASSPHRASE or GUILDER_KEY_PASSPHRASE_FILE, not both")
        return self
