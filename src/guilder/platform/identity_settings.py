"""Settings of identity: the keys that sign and encrypt, sign-in, codes, and people's data."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from guilder.platform.key_files import LEAST_PASSPHRASE_CHARACTERS


class OtpStore(StrEnum):
    """Where one-time codes are kept."""

    DATABASE = "database"
    REDIS = "redis"


class IdentitySettings(BaseModel):
    """What an installation can be told about identity; a part of `Settings`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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

    @field_validator("key_passphrase")
    @classmethod
    def _passphrase_is_long(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < LEAST_PASSPHRASE_CHARACTERS:
            raise ValueError(f"it has fewer than {LEAST_PASSPHRASE_CHARACTERS} characters")
        return value

    @model_validator(mode="after")
    def _one_passphrase(self) -> Self:
        if self.key_passphrase and self.key_passphrase_file:
            raise ValueError("set GUILDER_KEY_PASSPHRASE or GUILDER_KEY_PASSPHRASE_FILE, not both")
        return self
