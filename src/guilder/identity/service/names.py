"""Whom somebody means who is not signed in: by an email, or by a phone number."""

from __future__ import annotations

from msgspec import Struct

from guilder.identity.domain import applicants
from guilder.identity.domain.applicants import Malformed
from guilder.kernel.errors import ValidationFailed


class Named(Struct, frozen=True, kw_only=True):
    """Whom somebody means: by the key of an email, or by a phone number."""

    email_key: str | None = None
    phone: str | None = None

    @property
    def subject(self) -> str:
        """What a code for this name is kept under."""
        return self.email_key or self.phone or ""

    @property
    def contact(self) -> str:
        """Which address the name is: email or phone."""
        return "phone" if self.email_key is None else "email"


def read_name(*, email: str | None, phone: str | None, default_region: str) -> Named | None:
    """The name that was written; None when nobody can have it.

    Raises:
        ValidationFailed: there is none, there are two, or it has characters that no name has.
    """
    problems: dict[str, str] = {}
    if (email is None) == (phone is None):
        problems["email"] = "or phone is needed, one of the two"
    for field, text in (("email", email), ("phone", phone)):
        if text is not None and not applicants.is_plain_name(text):
            problems[field] = "is too long or contains characters that none has"
    if problems:
        raise ValidationFailed(fields=problems)
    try:
        if email is not None:
            return Named(email_key=applicants.read_email(email.strip()).key)
        number = applicants.read_phone((phone or "").strip(), default_region=default_region)
    except Malformed:
        return None
    return Named(phone=number)
