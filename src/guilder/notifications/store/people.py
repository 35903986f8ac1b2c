"""What notifications know of people: sealed contacts, wallets, devices, what they chose."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from guilder.kernel.ids import UserId, WalletId
from guilder.notifications.api import Category, Channel, DeviceId
from guilder.notifications.domain.preferences import Choices, Preferences, QuietHours, is_known
from guilder.notifications.domain.records import Device
from guilder.platform.db import Row, Tx

_PUT_CONTACTS: Final = """
    INSERT INTO notifications.contacts (user_id, sealed, has_email, has_phone, changed_at)
    SELECT DISTINCT ON (user_id) user_id, sealed, has_email, has_phone, changed_at
    FROM unnest($1::uuid[], $2::bytea[], $3::boolean[], $4::boolean[], $5::timestamptz[])
        AS c(user_id, sealed, has_email, has_phone, changed_at)
    ORDER BY user_id, changed_at DESC
    ON CONFLICT (user_id) DO UPDATE
    SET sealed = excluded.sealed, has_email = excluded.has_email,
        has_phone = excluded.has_phone, changed_at = excluded.changed_at
    WHERE contacts.changed_at <= excluded.changed_at
"""
_CONTACTS: Final = """
    SELECT user_id, sealed FROM notifications.contacts
    WHERE user_id = ANY($1::uuid[]) AND changed_at < 'infinity'
"""
_ADD_WALLETS: Final = """
    INSERT INTO notifications.wallets (wallet_id, owner_id)
    SELECT * FROM unnest($1::uuid[], $2::uuid[])
    ON CONFLICT DO NOTHING
"""
_OWNERS: Final = """
    SELECT wallet_id, owner_id FROM notifications.wallets WHERE wallet_id = ANY($1::uuid[])
"""
_READERS: Final = """
    SELECT u.id, p.language, p.time_zone, p.quiet_from, p.quiet_until, p.choices,
        COALESCE(c.has_email, false) AS has_email, COALESCE(c.has_phone, false) AS has_phone,
        ARRAY(SELECT d.id FROM notifications.devices d WHERE d.user_id = u.id ORDER BY d.id)
            AS devices
    FROM unnest($1::uuid[]) AS u(id)
    LEFT JOIN notifications.preferences p ON p.user_id = u.id
    LEFT JOIN notifications.contacts c ON c.user_id = u.id
"""
_PUT_PREFERENCES: Final = """
    INSERT INTO notifications.preferences
        (user_id, language, time_zone, quiet_from, quiet_until, choices)
    VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (user_id) DO UPDATE
    SET language = excluded.language, time_zone = excluded.time_zone,
        quiet_from = excluded.quiet_from, quiet_until = excluded.quiet_until,
        choices = excluded.choices, changed_at = clock_timestamp()
"""
_LOCK_PREFERENCES: Final = """
    SELECT FROM notifications.preferences WHERE user_id = $1 FOR UPDATE
"""
_HOLDER: Final = "SELECT id, user_id FROM notifications.devices WHERE token = $1 FOR UPDATE"
_PUT_DEVICE: Final = """
    INSERT INTO notifications.devices (id, user_id, token, label) VALUES ($1, $2, $3, $4)
    ON CONFLICT (token) DO UPDATE
    SET user_id = excluded.user_id, label = excluded.label, added_at = clock_timestamp(),
        id = CASE WHEN devices.user_id = excluded.user_id THEN devices.id ELSE excluded.id END
    RETURNING id, label, added_at
"""
_DEVICES: Final = """
    SELECT id, label, added_at FROM notifications.devices WHERE user_id = $1 ORDER BY id
"""
_COUNT_OTHERS: Final = """
    SELECT count(*) FROM notifications.devices WHERE user_id = $1 AND token <> $2
"""
_TOKENS: Final = """
    SELECT user_id, id, token FROM notifications.devices WHERE id = ANY($1::uuid[])
"""
_FORGET_DEVICES: Final = """
    DELETE FROM notifications.devices WHERE user_id = $1 AND added_at <= $2
"""
_FORGET_DEVICE: Final = """
    DELETE FROM notifications.devices WHERE id = $1 AND user_id = $2 RETURNING id
"""
_IS_DEVICE_THERE: Final = "SELECT EXISTS (SELECT FROM notifications.devices WHERE id = $1)"


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedContact:
    """A person's name and addresses, encrypted, and which addresses there are."""

    user_id: UserId
    sealed: bytes
    has_email: bool
    has_phone: bool
    changed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """A person as somebody to be told: what they chose and where they can be reached."""

    user_id: UserId
    preferences: Preferences
    has_email: bool
    has_phone: bool
    devices: Sequence[DeviceId]


async def put_contacts(tx: Tx, contacts: Sequence[SealedContact]) -> None:
    """Keep the newest contact of each person."""
    await tx.execute(
        _PUT_CONTACTS,
        [contact.user_id for contact in contacts],
        [contact.sealed for contact in contacts],
        [contact.has_email for contact in contacts],
        [contact.has_phone for contact in contacts],
        [contact.changed_at for contact in contacts],
    )


async def contacts(tx: Tx, user_ids: Collection[UserId]) -> dict[UserId, bytes]:
    """The sealed contacts of these people."""
    rows = await tx.fetch(_CONTACTS, list(user_ids))
    return {UserId(row["user_id"]): row["sealed"] for row in rows}


async def add_wallets(tx: Tx, wallets: Mapping[WalletId, UserId]) -> None:
    """Remember whose wallets these are."""
    await tx.execute(_ADD_WALLETS, list(wallets), list(wallets.values()))


async def owners(tx: Tx, wallet_ids: Collection[WalletId]) -> dict[WalletId, UserId]:
    """Who owns these wallets, as far as it is known."""
    rows = await tx.fetch(_OWNERS, list(wallet_ids))
    return {WalletId(row["wallet_id"]): UserId(row["owner_id"]) for row in rows}


async def readers(
    tx: Tx, user_ids: Collection[UserId], *, default: Preferences
) -> dict[UserId, Reader]:
    """These people as somebody to be told; ``default`` is for those who chose nothing."""
    rows = await tx.fetch(_READERS, list(user_ids))
    return {UserId(row["id"]): _reader(row, default) for row in rows}


async def lock_preferences(tx: Tx, user_id: UserId) -> None:
    """Let nobody else change what a person chose before this transaction ends."""
    await tx.fetch(_LOCK_PREFERENCES, user_id)


async def put_preferences(tx: Tx, user_id: UserId, preferences: Preferences) -> None:
    """Replace what a person chose."""
    quiet = preferences.quiet
    await tx.execute(
        _PUT_PREFERENCES,
        user_id,
        preferences.language,
        preferences.time_zone,
        None if quiet is None else quiet.start,
        None if quiet is None else quiet.end,
        msgspec.json.encode(by_category(preferences.choices)).decode(),
    )


async def count_other_devices(tx: Tx, user_id: UserId, *, token: str) -> int:
    """How many devices a person has beside the one with this token."""
    count: int = await tx.fetchval(_COUNT_OTHERS, user_id, token)
    return count


async def holder(tx: Tx, *, token: str) -> tuple[DeviceId, UserId] | None:
    """The device with this token and whose it is, locked."""
    row = await tx.fetchrow(_HOLDER, token)
    return None if row is None else (DeviceId(row["id"]), UserId(row["user_id"]))


async def put_device(
    tx: Tx, user_id: UserId, *, device_id: DeviceId, token: str, label: str
) -> Device:
    """Register a device; whoever had it before has it no more."""
    row = await tx.fetchrow(_PUT_DEVICE, device_id, user_id, token, label)
    if row is None:
        raise AssertionError  # pragma: no cover - an upsert returns its row
    return _device(row)


async def devices(tx: Tx, user_id: UserId) -> list[Device]:
    """A person's devices."""
    return [_device(row) for row in await tx.fetch(_DEVICES, user_id)]


async def device_tokens(tx: Tx, device_ids: Collection[UUID]) -> dict[tuple[UserId, DeviceId], str]:
    """Where pushes to these devices go, and whose they are now."""
    rows = await tx.fetch(_TOKENS, list(device_ids))
    return {(UserId(row["user_id"]), DeviceId(row["id"])): row["token"] for row in rows}


async def forget_device(tx: Tx, user_id: UserId, *, device_id: UUID) -> bool:
    """Whether the device was theirs and is now forgotten."""
    return await tx.fetchval(_FORGET_DEVICE, device_id, user_id) is not None


async def is_device_there(tx: Tx, device_id: UUID) -> bool:
    """Whether this device is anybody's."""
    found: bool = await tx.fetchval(_IS_DEVICE_THERE, device_id)
    return found


async def forget_devices(tx: Tx, user_id: UserId, *, before: datetime) -> None:
    """Forget the devices a person had at a time."""
    await tx.execute(_FORGET_DEVICES, user_id, before)


def _device(row: Row) -> Device:
    return Device(id=DeviceId(row["id"]), label=row["label"], added_at=row["added_at"])


def _reader(row: Row, default: Preferences) -> Reader:
    preferences = default
    if row["language"] is not None:
        quiet = None
        if row["quiet_from"] is not None:
            quiet = QuietHours(start=row["quiet_from"], end=row["quiet_until"])
        preferences = Preferences(
            language=row["language"],
            # one chosen where it was known, which it is not here
            time_zone=row["time_zone"] if is_known(row["time_zone"]) else default.time_zone,
            quiet=quiet,
            choices=_choices(msgspec.json.decode(row["choices"])),
        )
    return Reader(
        user_id=UserId(row["id"]),
        preferences=preferences,
        has_email=row["has_email"],
        has_phone=row["has_phone"],
        devices=[DeviceId(found) for found in row["devices"]],
    )


def by_category(choices: Choices) -> dict[str, dict[str, bool]]:
    """Choices as they are stored."""
    nested: dict[str, dict[str, bool]] = {}
    for (category, channel), wanted in choices.items():
        nested.setdefault(category.value, {})[channel.value] = wanted
    return nested


def _choices(nested: Mapping[str, Mapping[str, bool]]) -> Choices:
    return {
        (Category(category), Channel(channel)): wanted
        for category, chosen in nested.items()
        for channel, wanted in chosen.items()
    }
