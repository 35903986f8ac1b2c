"""Settings of notifications: who carries mail, SMS and push, and how long messages are kept."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class NotificationSettings(BaseModel):
    """What an installation can be told about notifications; a part of `Settings`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    smtp_url: SecretStr | None = Field(
        default=None,
        description="Mail server, as smtp://user:password@host:587 (STARTTLS), smtps:// (TLS) or "
        "smtp+plain://; simulated is the sandbox outbox, as it is in a sandbox when not set.",
    )
    mail_from: str = Field(
        default="Guilder <no-reply@guilder.example>",
        description="Whom mails to customers come from.",
    )
    sms_url: SecretStr | None = Field(
        default=None,
        description="SMS provider that speaks as Twilio, as https://account:token@host; or "
        "simulated, as it is in a sandbox when not set.",
    )
    sms_from: str = Field(default="Guilder", description="Number or name that SMS come from.")
    push_url: SecretStr | None = Field(
        default=None,
        description="Push provider that speaks as FCM, as https://host/v1/projects/name; or "
        "simulated, as it is in a sandbox when not set.",
    )
    push_credentials: Path | None = Field(
        default=None, description="Key file (JSON) of the service account for GUILDER_PUSH_URL."
    )
    notification_lease_s: float = Field(
        default=30,
        ge=2,
        le=600,
        description="Seconds after which a message is sent again whose courier has died; a "
        "provider gets half of that to answer.",
    )
    notification_retention_days: float = Field(
        default=90,
        ge=7,
        le=3650,
        description="Days that sent and failed messages are kept in the log of notifications.",
    )
