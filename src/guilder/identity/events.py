"""Facts that identity publishes, keyed by the user. What is personal in them is encrypted."""

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
class NewDeviceUsed:
    """Somebody who has signed in before did so with a program, or in a network, that is new.

    ``device`` is told in words of ours, ``network`` is the provider's, roughly; None: not known.
    """

    TYPE: ClassVar[str] = "com.guilder.user.new_device_used"

    user_id: UserId
    account_id: UserId
    account_type: str
    session_id: SessionId
    used_at: datetime
    device: str | None = None
    network: str | None = None


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
class RoleAssigned:
    """An account was appointed to a role by command, ``by`` nobody that Guilder knows."""

    TYPE: ClassVar[str] = "com.guilder.user.role_assigned"

    user_id: UserId
    account_id: UserId
    role: str
    assigned_at: datetime
    by: UserId | None = None
    personal: Reasoned | None = None


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
class SecondFactorsReset:
    """Staff took a user's second factors and recovery codes away, ``by`` whom, and signed them out.

    The password alone is enough until there is another factor. ``by`` None: the operator did it.
    """

    TYPE: ClassVar[str] = "com.guilder.user.second_factors_reset"

    user_id: UserId
    by: UserId | None
    personal: Reasoned
    reset_at: datetime


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

    ``sealed`` is the code, encrypted with an outer key for `code_place`, in base64. ``purpose`` is
    login, email, phone, password_reset or verification.
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
class UserLookedUp:
    """Staff looked for a user, ``by`` whom, or at one; ``user_id`` is None where nobody was found.

    ``named_by`` is how they named the user: id, email or phone. What they named is not in here.
    """

    TYPE: ClassVar[str] = "com.guilder.user.looked_up"

    user_id: UserId | None
    by: UserId
    named_by: str
    personal: Reasoned | None
    looked_up_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class UserStatus:
    """What freezing and unfreezing change of a user."""

    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UserFrozen:
    """Staff have frozen a user, ``by`` whom: nobody signs in as them, and their wallets freeze."""

    TYPE: ClassVar[str] = "com.guilder.user.frozen"

    user_id: UserId
    freeze_id: UUID
    by: UserId
    before: UserStatus
    after: UserStatus
    personal: Reasoned
    frozen_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class UserUnfrozen:
    """Staff have ended a freeze, ``by`` whom: what it froze is as it was before."""

    TYPE: ClassVar[str] = "com.guilder.user.unfrozen"

    user_id: UserId
    freeze_id: UUID
    by: UserId
    before: UserStatus
    after: UserStatus
    personal: Reasoned
    unfrozen_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountRoles:
    """What an account is appointed to."""

    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RolesChanged:
    """An account was appointed to other roles, ``by`` whom."""

    TYPE: ClassVar[str] = "com.guilder.user.roles_changed"

    user_id: UserId
    account_id: UserId
    by: UserId
    before: AccountRoles
    after: AccountRoles
    personal: Reasoned
    changed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleGrants:
    """What a role grants."""

    permissions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleDefined:
    """There is a new role, or one grants something else; ``by`` whom."""

    TYPE: ClassVar[str] = "com.guilder.role.defined"

    role: str
    by: UserId
    before: RoleGrants | None
    after: RoleGrants
    personal: Reasoned | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleRemoved:
    """A role that nobody had is no more; ``by`` whom."""

    TYPE: ClassVar[str] = "com.guilder.role.removed"

    role: str
    by: UserId
    before: RoleGrants
    personal: Reasoned | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PermissionDefined:
    """There is a new permission, for what stands beside Guilder and asks it; ``by`` whom."""

    TYPE: ClassVar[str] = "com.guilder.permission.defined"

    permission: str
    meaning: str
    by: UserId
    personal: Reasoned | None = None


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


@dataclass(frozen=True, slots=True, kw_only=True)
class UserErased:
    """A user was forgotten for good, ``by`` whom; None: by command. Others forget them, too."""

    TYPE: ClassVar[str] = "com.guilder.user.erased"

    user_id: UserId
    by: UserId | None
    reason: str
    erased_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LegalHoldPlaced:
    """The law wants a user's data: they are not erased until it is lifted; ``by`` whom."""

    TYPE: ClassVar[str] = "com.guilder.user.legal_hold_placed"

    user_id: UserId
    hold_id: UUID
    by: UserId
    personal: Reasoned
    placed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LegalHoldLifted:
    """The law does not want a user's data any more; ``by`` whom."""

    TYPE: ClassVar[str] = "com.guilder.user.legal_hold_lifted"

    user_id: UserId
    hold_id: UUID
    by: UserId
    personal: Reasoned
    lifted_at: datetime
