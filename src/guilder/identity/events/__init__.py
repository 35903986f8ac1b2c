"""Facts that identity publishes, keyed by the user.

What is personal in them is sealed, or stands in ``personal``, which audit keeps encrypted with a
key of the person.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from guilder.kernel.ids import SessionId, UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class UserRegistered:
    """A customer exists, with the user-admin account that is paired with it."""

    TYPE: ClassVar[str] = "com.guilder.user.registered"

    user_id: UserId
    user_admin_account_id: UserId
    registered_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalDetails:
    """What `UserContactChanged.sealed` holds, as JSON."""

    full_name: str
    email: str | None
    phone: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UserContactChanged:
    """A user has a name and addresses, or has other ones now.

    ``sealed`` is `PersonalDetails`, encrypted with an outer key (`guilder.platform.envelopes`) for
    `contact_place`, in base64: only who has the installation's key folder can read it.
    """

    TYPE: ClassVar[str] = "com.guilder.user.contact_changed"

    user_id: UserId
    sealed: str
    has_email: bool
    has_phone: bool
    changed_at: datetime


def contact_place(user_id: UserId) -> bytes:
    """What a user's sealed details are bound to, so that they open for nobody else."""
    return f"identity.users|contact|{user_id}".encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class UserLoggedIn:
    """Somebody signed in to one of a user's accounts.

    ``device`` tells one program on one kind of device from another, and nothing more: a digest of
    what it calls itself. None: it does not say. ``methods`` are how they proved to be that user.
    """

    TYPE: ClassVar[str] = "com.guilder.user.logged_in"

    user_id: UserId
    account_id: UserId
    account_type: str
    session_id: SessionId
    logged_in_at: datetime
    device: str | None = None
    methods: tuple[str, ...] = ("pwd",)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenDevice:
    """With what somebody signed in, and from where.

    ``device`` is told in words of ours, ``network`` is the provider's, roughly; None: not known.
    """

    device: str | None = None
    network: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDeviceUsed:
    """Somebody who has signed in before did so with a program, or in a network, that is new."""

    TYPE: ClassVar[str] = "com.guilder.user.new_device_used"

    user_id: UserId
    account_id: UserId
    account_type: str
    session_id: SessionId
    used_at: datetime
    personal: SeenDevice | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionsEnded:
    """Sessions of a user ended before their time: their tokens are refused from now on.

    ``reason`` is one of `guilder.identity.api.sessions.EndReason`.
    """

    TYPE: ClassVar[str] = "com.guilder.user.sessions_ended"

    user_id: UserId
    session_ids: tuple[SessionId, ...]
    reason: str
    ended_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondFactorAdded:
    """A user has a second factor more. ``factor`` is totp or passkey."""

    TYPE: ClassVar[str] = "com.guilder.user.second_factor_added"

    user_id: UserId
    factor: str
    added_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondFactorRemoved:
    """A user has a second factor less. ``factor`` is totp or passkey."""

    TYPE: ClassVar[str] = "com.guilder.user.second_factor_removed"

    user_id: UserId
    factor: str
    removed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryCodesReplaced:
    """A user got new recovery codes; the ones before work no more."""

    TYPE: ClassVar[str] = "com.guilder.user.recovery_codes_replaced"

    user_id: UserId
    replaced_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryCodeUsed:
    """Somebody proved to be a user with a recovery code; ``left`` were not used yet."""

    TYPE: ClassVar[str] = "com.guilder.user.recovery_code_used"

    user_id: UserId
    left: int
    used_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondFactorGuessed:
    """So many wrong codes came in a row that the next ones have to wait.

    Whoever sent them had the user's password, or a session.
    """

    TYPE: ClassVar[str] = "com.guilder.user.second_factor_guessed"

    user_id: UserId
    failures: int
    blocked_until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInCodesGuessed:
    """So many wrong codes to sign in with came in a row for one of a user's addresses."""

    TYPE: ClassVar[str] = "com.guilder.user.sign_in_codes_guessed"

    user_id: UserId
    failures: int
    guessed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationRequested:
    """An operation waits until somebody confirms it with a code. The code is not in here."""

    TYPE: ClassVar[str] = "com.guilder.verification.requested"

    verification_id: UUID
    user_id: UserId
    account_id: UserId
    operation: str
    requested_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationConcluded:
    """A code was entered, or too many wrong ones were, or the operation was given up.

    ``status`` is verified, exhausted or cancelled.
    """

    TYPE: ClassVar[str] = "com.guilder.verification.concluded"

    verification_id: UUID
    user_id: UserId
    operation: str
    status: str
    concluded_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeIssued:
    """A code is on its way to somebody: by ``channel``, email or sms, until ``expires_at``.

    ``sealed`` is the code, encrypted for `code_place` with a key of its own that is gone when its
    time is over (`guilder.platform.ephemeral`), in base64. ``purpose`` is login, email, phone,
    password_reset or verification.
    """

    TYPE: ClassVar[str] = "com.guilder.user.code_issued"

    user_id: UserId
    purpose: str
    channel: str
    sealed: str
    issued_at: datetime
    expires_at: datetime


def code_place(user_id: UserId) -> bytes:
    """What a user's sealed codes are bound to, so that they open for nobody else."""
    return f"identity.codes|code|{user_id}".encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordChanged:
    """A user has another password, ``by`` change or reset; or none any more, by reclaim."""

    TYPE: ClassVar[str] = "com.guilder.user.password_changed"

    user_id: UserId
    by: str
    changed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactVerified:
    """A user has proved that an address is theirs; ``contact`` is email or phone."""

    TYPE: ClassVar[str] = "com.guilder.user.contact_verified"

    user_id: UserId
    contact: str
    verified_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountReclaimed:
    """Who has an address that nobody had proved has shown it, by a reset or by a code alone.

    Whatever was attached to the account up to ``reclaimed_at`` may be a stranger's and ends.
    """

    TYPE: ClassVar[str] = "com.guilder.user.reclaimed"

    user_id: UserId
    reclaimed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Reasoned:
    """Why staff did something to a user, in their own words: it may be personal."""

    reason: str


def reasoned(reason: str | None) -> Reasoned | None:
    """A reason as events tell it, where one was given."""
    return None if reason is None else Reasoned(reason=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientAdded:
    """There is a new machine client, ``by`` whom; without a user it acts in its own name."""

    TYPE: ClassVar[str] = "com.guilder.client.added"

    client_id: UserId
    user_id: UserId | None
    scopes: tuple[str, ...]
    by: UserId
    personal: Reasoned | None
    added_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSecretRotated:
    """A machine client has another secret, ``by`` whom; the one before is good for a while yet."""

    TYPE: ClassVar[str] = "com.guilder.client.secret_rotated"

    client_id: UserId
    user_id: UserId | None
    by: UserId
    previous_until: datetime | None
    tokens_ended: bool
    personal: Reasoned | None
    rotated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientRemoved:
    """A machine client is no more, and neither are its tokens; ``by`` whom."""

    TYPE: ClassVar[str] = "com.guilder.client.removed"

    client_id: UserId
    user_id: UserId | None
    by: UserId | None
    personal: Reasoned | None
    removed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OutsideIdentityLinked:
    """A user signs in with a provider, too.

    ``linked_by`` is user, who was signed in, or email, which both sides had verified.
    """

    TYPE: ClassVar[str] = "com.guilder.user.outside_identity_linked"

    user_id: UserId
    provider: str
    linked_by: str
    linked_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OutsideIdentityUnlinked:
    """A user signs in with a provider no more."""

    TYPE: ClassVar[str] = "com.guilder.user.outside_identity_unlinked"

    user_id: UserId
    provider: str
    unlinked_at: datetime
