"""Who is told what of an event: one table of templates, and a function for each kind of fact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final, TypeAlias
from uuid import UUID

from msgspec import Struct

from guilder.identity.events import (
    ClientAdded,
    ClientSecretRotated,
    NewDeviceUsed,
    OutsideIdentityLinked,
    OutsideIdentityUnlinked,
    PasswordChanged,
    RecoveryCodesReplaced,
    RecoveryCodeUsed,
    SecondFactorAdded,
    SecondFactorGuessed,
    SecondFactorRemoved,
    SeenDevice,
    SessionsEnded,
    SignInCodesGuessed,
    UserRegistered,
)
from guilder.identity.events.staff import SecondFactorsReset
from guilder.kernel.ids import EventId, UserId, WalletId
from guilder.notifications.api import Category
from guilder.payments.events import TransactionCompleted, TransactionFailed
from guilder.wallets.events import WalletCreated

Values = Mapping[str, str]
"""What a template's words are filled with, as the event says it: not yet put into a language."""

_LIMIT: Final = "LIMIT_EXCEEDED"


class OwnerUnknown(LookupError):
    """A payment names a wallet whose creation has not been heard of yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A template: its category and the values it takes, with an example of each."""

    category: Category
    sample: Values

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the values it takes."""
        return tuple(self.sample)


class Notice(Struct, frozen=True, kw_only=True):
    """One thing one person is told. ``at`` is when it happened."""

    user_id: UserId
    template: str
    values: Values
    at: datetime
    event_id: EventId | None = None

    @property
    def category(self) -> Category:
        """What it is about."""
        return TEMPLATES[self.template].category


_WALLET: Final = "01939f6e-5a7c-7d60-8c1e-7a5d0f3f9a11"
_OTHER: Final = "01939f6e-5a7c-7d60-8c1e-7a5d0f3f9b22"
_PAYMENT: Final = "01939f6e-5a7c-7d60-8c1e-7a5d0f3f9c33"
_AT: Final = "2026-11-20T10:30:00Z"
_MONEY: Final = {"transaction_id": _PAYMENT, "amount": "125000.50", "currency": "INR", "at": _AT}


def _template(category: Category, **sample: str) -> Template:
    return Template(category=category, sample=MappingProxyType(sample))


TEMPLATES: Final[Mapping[str, Template]] = MappingProxyType(
    {
        "welcome": _template(Category.ACCOUNT, at=_AT),
        "account_details": _template(Category.ACCOUNT, wallet_id=_WALLET, currency="INR"),
        "deposit_received": _template(Category.PAYMENTS, **_MONEY, wallet_id=_WALLET),
        "withdrawal_made": _template(Category.PAYMENTS, **_MONEY, wallet_id=_WALLET),
        "payment_sent": _template(
            Category.PAYMENTS, **_MONEY, wallet_id=_WALLET, other_wallet_id=_OTHER
        ),
        "payment_received": _template(
            Category.PAYMENTS, **_MONEY, wallet_id=_WALLET, other_wallet_id=_OTHER
        ),
        "payment_moved": _template(
            Category.PAYMENTS, **_MONEY, wallet_id=_WALLET, other_wallet_id=_OTHER
        ),
        "payment_failed": _template(Category.PAYMENTS, **_MONEY, reason="INSUFFICIENT_FUNDS"),
        "limit_reached": _template(Category.PAYMENTS, **_MONEY),
        "new_device": _template(Category.SECURITY, at=_AT, account_type="customer"),
        "session_stolen": _template(Category.SECURITY, at=_AT),
        "password_changed": _template(Category.SECURITY, at=_AT),
        "password_voided": _template(Category.SECURITY, at=_AT),
        "second_factor_changed": _template(Category.SECURITY, at=_AT, change="totp_added"),
        "second_factor_guessed": _template(Category.SECURITY, at=_AT),
        "login_code_guessed": _template(Category.SECURITY, at=_AT),
        "login_code": _template(Category.SECURITY, code="847291", at=_AT),
        "contact_code": _template(Category.SECURITY, code="847291", at=_AT),
        "verification_code": _template(Category.SECURITY, code="847291", at=_AT),
        "password_reset": _template(Category.SECURITY, code="rst_u7Tq9", at=_AT),
        "webhook_disabled": _template(Category.ACCOUNT, endpoint_id=_OTHER, at=_AT),
        "message": _template(
            Category.ACCOUNT,
            subject="Our office is closed on Monday",
            text="We are back on Tuesday.\nTransfers work as always.",
        ),
    }
)
"""Every template there is. Its words stand in ``templates/<language>/<name>``.

Feeds keep a template's name and values and are put into words when they are read: none is ever
removed, and none ever needs another value. What it may be given besides has words for its absence.
"""


CODES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "login": "login_code",
        "email": "contact_code",
        "phone": "contact_code",
        "verification": "verification_code",
        "password_reset": "password_reset",
    }
)
"""The template of each purpose that a code is issued for. ``at`` is when the code ends."""


class WebhookDisabled(Struct, frozen=True, kw_only=True):
    """Somebody's webhook endpoint is not called any more. Webhooks' event, as far as it is told."""

    endpoint_id: UUID
    owner_id: UserId


def of_disabled_webhook(fact: WebhookDisabled, *, at: datetime) -> list[Notice]:
    """Its owner has to mend it and switch it on again."""
    values = {"endpoint_id": str(fact.endpoint_id), "at": _written(at)}
    return [Notice(user_id=fact.owner_id, template="webhook_disabled", values=values, at=at)]


def of_registration(fact: UserRegistered) -> list[Notice]:
    """Whoever registers is welcomed."""
    at = fact.registered_at
    return [Notice(user_id=fact.user_id, template="welcome", values={"at": _written(at)}, at=at)]


def of_wallet(fact: WalletCreated, *, at: datetime) -> list[Notice]:
    """Its owner gets a new wallet's details."""
    values = {"wallet_id": str(fact.wallet_id), "currency": fact.currency}
    return [Notice(user_id=fact.owner_id, template="account_details", values=values, at=at)]


FactorChange: TypeAlias = (
    SecondFactorAdded
    | SecondFactorRemoved
    | SecondFactorsReset
    | RecoveryCodesReplaced
    | RecoveryCodeUsed
)


def of_factors(fact: FactorChange, *, at: datetime) -> list[Notice]:
    """Whoever did not change how they sign in, or did not use a recovery code, has to know."""
    values = {"at": _written(at), "change": _change(fact)}
    return [Notice(user_id=fact.user_id, template="second_factor_changed", values=values, at=at)]


AccessChange: TypeAlias = (
    OutsideIdentityLinked | OutsideIdentityUnlinked | ClientAdded | ClientSecretRotated
)


def of_access(fact: AccessChange, *, at: datetime) -> list[Notice]:
    """Whoever did not open their account to a provider or a program has to know.

    What acts for nobody but the house is told to nobody.
    """
    if fact.user_id is None:
        return []
    values = {"at": _written(at), "change": _opening(fact)}
    return [Notice(user_id=fact.user_id, template="second_factor_changed", values=values, at=at)]


def of_guesses(fact: SecondFactorGuessed, *, at: datetime) -> list[Notice]:
    """Whoever guesses at codes knew the password."""
    values = {"at": _written(at)}
    return [Notice(user_id=fact.user_id, template="second_factor_guessed", values=values, at=at)]


def of_guessed_codes(fact: SignInCodesGuessed) -> list[Notice]:
    """Whoever guesses at sign-in codes knew an address and no more."""
    at = fact.guessed_at
    values = {"at": _written(at)}
    return [Notice(user_id=fact.user_id, template="login_code_guessed", values=values, at=at)]


def of_password(fact: PasswordChanged) -> list[Notice]:
    """Whoever did not change it themselves has to know at once; who has none now, too."""
    at = fact.changed_at
    values = {"at": _written(at)}
    template = "password_voided" if fact.by == "reclaim" else "password_changed"
    return [Notice(user_id=fact.user_id, template=template, values=values, at=at)]


def of_new_device(fact: NewDeviceUsed) -> list[Notice]:
    """A sign-in with a device, or from a place, that was never seen with this person."""
    at = fact.used_at
    values = {"at": _written(at), "account_type": fact.account_type}
    seen = fact.personal or SeenDevice()
    values |= {"device": seen.device} if seen.device else {}
    values |= {"network": seen.network} if seen.network else {}
    return [Notice(user_id=fact.user_id, template="new_device", values=values, at=at)]


def of_stolen_session(fact: SessionsEnded) -> list[Notice]:
    """Whoever was signed out because two had their session has to know that somebody else did."""
    at = fact.ended_at
    values = {"at": _written(at)}
    return [Notice(user_id=fact.user_id, template="session_stolen", values=values, at=at)]


def of_payment(fact: TransactionCompleted, *, owners: Mapping[WalletId, UserId]) -> list[Notice]:
    """Both sides of a payment hear of it; who moves money between own wallets, once.

    Raises:
        OwnerUnknown: a wallet's owner is not known yet.
    """
    giver = _owner(fact.from_wallet_id, owners)
    taker = _owner(fact.to_wallet_id, owners)
    at = fact.effective_at or fact.completed_at
    money = _money(fact, at=at)
    source, target = str(fact.from_wallet_id), str(fact.to_wallet_id)
    given = {**money, "wallet_id": source}
    taken = {**money, "wallet_id": target}
    told: list[tuple[UserId, str, Values]] = []
    if giver is None and taker is not None:
        told = [(taker, "deposit_received", taken)]
    elif giver is not None and taker is None:
        told = [(giver, "withdrawal_made", given)]
    elif giver is not None and taker is not None:
        given["other_wallet_id"], taken["other_wallet_id"] = target, source
        told = [(giver, "payment_sent", given), (taker, "payment_received", taken)]
        if giver == taker:
            told = [(giver, "payment_moved", given)]
    return [
        Notice(user_id=user_id, template=template, values=values, at=at)
        for user_id, template, values in told
    ]


def of_failure(fact: TransactionFailed) -> list[Notice]:
    """Whoever tried to pay hears why it failed; a limit is news of its own kind."""
    at = fact.effective_at or fact.failed_at
    template, values = "payment_failed", {**_money(fact, at=at), "reason": fact.reason}
    if fact.reason == _LIMIT:
        template, values = "limit_reached", _money(fact, at=at)
    return [Notice(user_id=fact.initiated_by, template=template, values=values, at=at)]


def _change(fact: FactorChange) -> str:
    match fact:
        case SecondFactorAdded():
            return f"{fact.factor}_added"
        case SecondFactorRemoved():
            return f"{fact.factor}_removed"
        case SecondFactorsReset():
            return "reset"
        case RecoveryCodesReplaced():
            return "recovery_codes_replaced"
        case RecoveryCodeUsed():  # pragma: no branch - the last kind
            return "recovery_code_used"


def _opening(fact: AccessChange) -> str:
    match fact:
        case OutsideIdentityLinked():
            return "provider_linked"
        case OutsideIdentityUnlinked():
            return "provider_unlinked"
        case ClientAdded():
            return "client_added"
        case ClientSecretRotated():  # pragma: no branch - the last kind
            return "client_secret_rotated"


def _money(fact: TransactionCompleted | TransactionFailed, *, at: datetime) -> dict[str, str]:
    return {
        "transaction_id": str(fact.transaction_id),
        "amount": fact.amount,
        "currency": fact.currency,
        "at": _written(at),
    }


def _owner(wallet_id: WalletId | None, owners: Mapping[WalletId, UserId]) -> UserId | None:
    if wallet_id is None:
        return None
    if wallet_id not in owners:
        raise OwnerUnknown(f"nobody is known to own wallet {wallet_id}")
    return owners[wallet_id]


def _written(moment: datetime) -> str:
    return moment.isoformat()
