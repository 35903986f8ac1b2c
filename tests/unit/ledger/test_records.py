"""What is stored of a transaction, an account, a hold: hashed, sealed, compared."""

from __future__ import annotations

from datetime import timedelta
from hashlib import sha256
from uuid import UUID

import msgspec
import pytest

from guilder.kernel.currencies import CURRENCIES, INR
from guilder.kernel.ids import AccountId, TransactionId
from guilder.ledger.api import (
    AccountType,
    EntryDraft,
    NewAccount,
    OriginalTransaction,
    PlatformAccount,
    ReversalDraft,
    TransactionDraft,
    platform_account_id,
)
from guilder.ledger.domain import seals
from guilder.ledger.domain.book import LockedBook
from guilder.ledger.domain.chain import GENESIS, entry_hash
from guilder.ledger.domain.floors import FloorChange
from guilder.ledger.domain.transactions import named, stored
from guilder.ledger.domain.verification import AccountHead, SliceSums, violation
from tests.support.books import ANNA, BANK, BEN, NOON, control, draft, people, transfer


def test_an_entrys_hash_is_over_its_bytes_as_they_are_documented():
    here = LockedBook(accounts=people(), now=NOON)
    paid = transfer(300, description="Für Anna", metadata='{"a":1}', effective_at=NOON)
    assert here.post(paid) is None
    microseconds = (1795176000 * 10**6).to_bytes(8, "big")
    texts = b"".join(
        len(text.encode()).to_bytes(4, "big") + text.encode()
        for text in ("transfer", "Für Anna", '{"a":1}')
    )
    digest = sha256(
        paid.id.bytes + bytes(16) + microseconds + microseconds + bytes(8) + texts
    ).digest()

    first = here.entries[0]

    assert here.transactions[0].digest == digest
    assert (
        first.hash
        == sha256(
            GENESIS
            + ANNA.bytes
            + (1).to_bytes(8, "big")
            + paid.id.bytes
            + (300).to_bytes(8, "big")
            + (700).to_bytes(8, "big")
            + microseconds
            + digest
        ).digest()
    )


def test_every_field_of_an_entry_and_of_its_transaction_changes_the_hash():
    fields = {
        "previous": GENESIS,
        "account_id": ANNA,
        "sequence": 1,
        "transaction_id": transfer(1).id,
        "amount_minor": 5,
        "balance_after_minor": 5,
        "recorded_us": 7,
        "digest": bytes(32),
    }
    others = {
        "previous": b"x" * 32,
        "account_id": BEN,
        "sequence": 2,
        "transaction_id": transfer(1).id,
        "amount_minor": -5,
        "balance_after_minor": 6,
        "recorded_us": 8,
        "digest": b"y" * 32,
    }

    hashes = {entry_hash(**{**fields, name: other}) for name, other in others.items()}

    assert len(hashes | {entry_hash(**fields)}) == len(fields) + 1


def test_the_same_request_is_recognised_whatever_the_order_of_its_entries():
    asked = transfer(5, effective_at=None)
    known = stored(asked, recorded_at=NOON)
    turned = msgspec.structs.replace(asked, entries=asked.entries[::-1])

    assert known.differing(asked) == []
    assert known.differing(turned) == []
    assert known.differing(msgspec.structs.replace(asked, effective_at=NOON)) == []


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("kind", {"kind": "gift"}),
        ("description", {"description": "else"}),
        ("metadata", {"metadata": '{"a": 1}'}),
        ("effective_at", {"effective_at": NOON - timedelta(days=1)}),
        ("expires_at", {"expires_at": NOON + timedelta(days=1)}),
        (
            "reverses_id",
            {"reverses": OriginalTransaction(id=transfer(1).id, kind="x", recorded_at=NOON)},
        ),
        ("entries", {"entries": (EntryDraft(ANNA, 6), EntryDraft(BEN, -6))}),
    ],
)
def test_a_request_that_differs_in_anything_is_another(name: str, change: dict[str, object]):
    asked = transfer(5)

    known = stored(asked, recorded_at=NOON)

    assert known.differing(msgspec.structs.replace(asked, **change)) == [name]
    changed = stored(msgspec.structs.replace(asked, **change), recorded_at=NOON)
    assert changed.differing(msgspec.structs.replace(asked, **change)) == []


def test_what_differs_is_named():
    assert named(["kind", "amount"]) == {
        "kind": "differs from the first request",
        "amount": "differs from the first request",
    }


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("transaction_id", {"original_id": TransactionId(UUID(int=9))}),
        ("kind", {"kind": "gift"}),
        ("description", {"description": "else"}),
        ("metadata", {"metadata": '{"a": 1}'}),
        ("amount", {"amount_minor": 4}),
    ],
)
def test_a_reversal_that_differs_in_anything_is_another(name: str, change: dict[str, object]):
    original = transfer(5)
    entries = (EntryDraft(BEN, 5), EntryDraft(ANNA, -5))
    draft = ReversalDraft(id=transfer(1).id, original_id=original.id)
    reverses = OriginalTransaction(id=original.id, kind="transfer", recorded_at=NOON)
    known = stored(
        TransactionDraft(id=draft.id, kind="reversal", entries=entries, reverses=reverses),
        recorded_at=NOON,
    )

    assert known.differing_reversal(draft) == []
    assert known.differing_reversal(msgspec.structs.replace(draft, amount_minor=5)) == []
    assert known.differing_reversal(msgspec.structs.replace(draft, **change)) == [name]


def test_seals_tell_an_absent_value_from_an_empty_one():
    change = FloorChange(
        account_id=ANNA,
        number=1,
        after_sequence=0,
        previous_floor_minor=None,
        floor_minor=0,
        changed_at=NOON,
    )
    swapped = msgspec.structs.replace(change, previous_floor_minor=0, floor_minor=None)

    assert seals.floor_change_seal(change) != seals.floor_change_seal(swapped)


def test_a_seal_of_a_control_covers_its_kinds_in_any_order():
    some, same = (control(id=None, kinds=frozenset(kinds)) for kinds in (("a", "b"), ("b", "a")))
    none = control(id=None)

    assert seals.control_seal(some) == seals.control_seal(same)
    assert seals.control_seal(some) != seals.control_seal(none)


def test_a_seal_of_a_hold_changes_when_it_ends():
    here = LockedBook(accounts=people(), now=NOON)
    assert here.post(transfer(5, expires_at=NOON + timedelta(hours=1))) is None
    hold = here.holds[0]
    open_seal = seals.hold_seal(hold)
    later = LockedBook(accounts=people(pending_debits=5), now=NOON, holds=[hold])
    ben = later.account(BEN)
    assert ben is not None
    ben.pending_credits = 5

    assert later.void(hold.transaction_id) is None

    assert seals.hold_seal(hold) != open_seal
    assert seals.hold_lines(hold.lines) == f'[["{ANNA}",5],["{BEN}",-5]]'


def test_a_seal_of_an_account_covers_whose_it_is():
    new = NewAccount(
        id=AccountId(ANNA), owner_id=None, code="wallet", type=AccountType.ASSET, currency=INR
    )

    ours = seals.account_seal(new, created_at=NOON)

    owned = msgspec.structs.replace(new, owner_id=BEN)
    assert seals.account_seal(owned, created_at=NOON) != ours


def test_platform_accounts_have_one_id_for_each_currency():
    ids = {
        platform_account_id(account, unit)
        for account in PlatformAccount
        for unit in CURRENCIES.values()
    }

    assert len(ids) == len(PlatformAccount) * len(CURRENCIES)
    assert all(account.type for account in PlatformAccount)


HEAD = AccountHead(
    account_id=ANNA,
    is_debit_normal=False,
    sequence=3,
    last_hash=b"last",
    posted_debits=10,
    posted_credits=60,
    verified=1,
    verified_hash=b"first",
    verified_debits=0,
    verified_credits=50,
)
GOOD = SliceSums(entries=2, debits=10, credits=10, last_sequence=3, last_hash=b"last")


@pytest.mark.parametrize(
    ("head", "sums", "up_to", "invariant"),
    [
        ({}, {}, 3, None),
        ({}, {"broken_sequence": 2}, 3, "chain"),
        ({}, {"entries": 1}, 3, "sequence"),
        ({"sequence": 0}, {"entries": 0}, 0, "sequence"),
        ({}, {"debits": 11}, 3, "balance"),
        ({}, {"last_hash": b"else"}, 3, "balance"),
        ({"sequence": 9}, {"debits": 11}, 3, None),
        ({"sequence": 1}, {"entries": 0, "debits": 0, "credits": 0}, 1, "balance"),
    ],
)
def test_a_slice_is_held_against_its_account(
    head: dict[str, int], sums: dict[str, int], up_to: int, invariant: str | None
):
    found = violation(
        msgspec.structs.replace(HEAD, **head), msgspec.structs.replace(GOOD, **sums), up_to=up_to
    )

    assert (None if found is None else found.invariant) == invariant


def test_a_verified_balance_is_on_the_normal_side():
    assert HEAD.verified_balance == 50
    assert msgspec.structs.replace(HEAD, is_debit_normal=True).verified_balance == -50


def test_a_deposit_is_a_debit_of_the_bank():
    here = LockedBook(accounts=people(), now=NOON)

    assert here.post(draft((BANK, 5), (ANNA, -5), kind="deposit")) is None

    found = here.account(BANK)
    assert found is not None
    assert (found.balance_minor, found.held_minor) == (1_005, 0)
