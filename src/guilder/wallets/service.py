"""Use cases of wallets: open, activate, freeze, unfreeze, close, and look at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from msgspec import Struct, structs

from guilder.identity.api.personal_data import MoneyRemains
from guilder.kernel.currencies import Currency
from guilder.kernel.errors import Refusal
from guilder.kernel.ids import AccountId, UserId, WalletId
from guilder.ledger.api import (
    Account,
    AccountStatus,
    AccountType,
    ControlLimits,
    Entry,
    Ledger,
    NewAccount,
)
from guilder.platform import outbox
from guilder.platform.batching import Batcher
from guilder.platform.db import Database, Tx, savepoint
from guilder.platform.identifiers import new_id
from guilder.platform.once import run_once
from guilder.wallets import store
from guilder.wallets.api import (
    WALLET_ACCOUNT_CODE,
    Act,
    TooManyWallets,
    Wallet,
    WalletNotFound,
    WalletStatus,
)
from guilder.wallets.domain import (
    MOST_WALLETS,
    StandingWallet,
    next_standing,
    starting_controls,
)
from guilder.wallets.events import (
    WalletActivated,
    WalletCreated,
    WalletEnded,
    WalletFrozen,
    WalletState,
)
from guilder.wallets.store import StoredWallet

BEFORE_ALL: Final = WalletId(UUID(int=0))
"""An id that every wallet comes after."""

_MOST_AT_ONCE: Final = 1000
_ACCOUNT_STATUS: Final = {
    # Whoever holds the account's lock sees in it whether the wallet may be used.
    WalletStatus.PENDING: AccountStatus.FROZEN,
    WalletStatus.ACTIVE: AccountStatus.OPEN,
    WalletStatus.FROZEN: AccountStatus.FROZEN,
    WalletStatus.CLOSED: AccountStatus.CLOSED,
}


class WalletView(Struct, frozen=True, kw_only=True):
    """A wallet with its ledger account: what its owner sees."""

    wallet: StoredWallet
    account: Account


class BalanceView(Struct, frozen=True, kw_only=True):
    """A balance in minor units, now or at a time; what is held is known only for now.

    It counts everything that was answered for before ``as_of``.
    """

    wallet_id: WalletId
    currency: Currency
    balance_minor: int
    available_minor: int | None
    held_minor: int | None
    as_of: datetime


class InMoneyCore:
    """Implements `guilder.wallets.api.Wallets` for contexts that share the transaction."""

    async def of_accounts(self, tx: Tx, accounts: Iterable[Account]) -> dict[WalletId, Wallet]:
        """The wallets of these ledger accounts; an account that is no wallet's is passed over.

        Their status is exact when the accounts are locked.
        """
        wallets = {}
        closed_to_use = []
        for account in accounts:
            if not _is_wallet(account) or account.owner_id is None:
                continue
            wallet_id = WalletId(account.id)
            # Only an active wallet's account is open; why another's is not, its own row says.
            if account.status is AccountStatus.OPEN:
                wallets[wallet_id] = Wallet(
                    id=wallet_id,
                    owner_id=account.owner_id,
                    currency=account.currency,
                    status=WalletStatus.ACTIVE,
                )
            else:
                closed_to_use.append(wallet_id)
        if closed_to_use:
            wallets |= await store.find(tx, closed_to_use)
        return wallets

    async def of_owner(self, tx: Tx, owner_id: UserId) -> list[WalletId]:
        """The ids of everything this owner has ever held, closed wallets included."""
        return await store.ids_of_owner(tx, owner_id)

    async def exists(self, tx: Tx, wallet_id: WalletId) -> bool:
        """Whether there is or was a wallet of this id, whoever holds it."""
        return await store.one(tx, wallet_id) is not None


class WalletService:
    """Wallets of their owners. ``limits_of`` says what an unverified owner may move.

    Nobody opens more than ``most_wallets``: what is done to an owner is done to each of them.
    """

    def __init__(
        self,
        db: Database,
        *,
        ledger: Ledger,
        limits_of: Callable[[Currency], ControlLimits],
        time_zone: str,
        most_wallets: int = MOST_WALLETS,
    ) -> None:
        self._db = db
        self._ledger = ledger
        self._limits_of = limits_of
        self._time_zone = time_zone
        self._most_wallets = most_wallets
        # Whoever asks while a query is under way shares the next one: a look-up costs the server
        # a few microseconds, and asking for it alone twenty times that.
        self._accounts: Batcher[AccountId, Account | None] = Batcher(self._read_accounts)

    async def open_wallet(
        self, owner_id: UserId, *, currency: Currency, label: str = ""
    ) -> WalletView:
        """Open a wallet that waits for its activation.

        Raises:
            TooManyWallets: its owner has as many as anybody may, closed ones included.
        """
        wallet_id = WalletId(new_id())

        async def work(tx: Tx) -> None:
            await self._open(
                tx, wallet_id, owner_id, currency, label=label, status=WalletStatus.PENDING
            )
            # Whoever opens an account of an owner has their lock until the commit, so nobody
            # counts what somebody else is just opening as not there.
            if await store.count_of_owner(tx, owner_id) > self._most_wallets:
                raise TooManyWallets(limit=self._most_wallets)

        await run_once(self._db, work)
        return await self.view(owner_id, wallet_id=wallet_id)

    async def open_default_wallet(self, tx: Tx, owner_id: UserId, currency: Currency) -> None:
        """Open an owner's active default wallet in a currency, unless there is one."""
        if await store.default_of(tx, owner_id, currency) is None:
            await self._open(
                tx,
                WalletId(new_id()),
                owner_id,
                currency,
                status=WalletStatus.ACTIVE,
                is_default=True,
            )

    async def open_active_wallet(
        self, tx: Tx, owner_id: UserId, *, currency: Currency, label: str = ""
    ) -> WalletId:
        """Open a wallet that needs no activation, for whoever sets people up, and answer its id."""
        wallet_id = WalletId(new_id())
        await self._open(tx, wallet_id, owner_id, currency, label=label, status=WalletStatus.ACTIVE)
        return wallet_id

    async def set_limits(
        self, tx: Tx, owner_id: UserId, *, currency: Currency, limits: ControlLimits
    ) -> None:
        """Let an owner pay out, and fund, as much as this in a currency from now on."""
        for control in starting_controls(
            owner_id, currency, limits=limits, time_zone=self._time_zone
        ):
            await self._ledger.set_control(tx, control)

    async def view(self, owner_id: UserId, *, wallet_id: WalletId) -> WalletView:
        """One wallet of its owner.

        Raises:
            WalletNotFound: it does not exist or is somebody else's.
        """
        async with self._db.snapshot() as tx:
            wallet = _owned(await store.one(tx, wallet_id), owner_id)
            accounts = await self._ledger.accounts(tx, [AccountId(wallet_id)])
        return WalletView(wallet=wallet, account=accounts[AccountId(wallet_id)])

    async def default_wallet(self, owner_id: UserId, *, currency: Currency) -> WalletView:
        """The owner's default wallet in a currency.

        Raises:
            WalletNotFound: there is none yet.
        """
        async with self._db.snapshot() as tx:
            wallet = await store.default_of(tx, owner_id, currency)
            if wallet is None:
                raise WalletNotFound
            accounts = await self._ledger.accounts(tx, [AccountId(wallet.id)])
        return WalletView(wallet=wallet, account=accounts[AccountId(wallet.id)])

    async def list_wallets(
        self, owner_id: UserId, *, after: WalletId, limit: int
    ) -> list[WalletView]:
        """An owner's wallets in order of opening, from after a wallet's id."""
        async with self._db.snapshot() as tx:
            wallets = await store.page(tx, owner_id, after=after, limit=limit)
            accounts = await self._ledger.accounts(tx, [AccountId(w.id) for w in wallets])
        return [WalletView(wallet=w, account=accounts[AccountId(w.id)]) for w in wallets]

    async def balance(
        self, owner_id: UserId, *, wallet_id: WalletId, at: datetime | None = None
    ) -> BalanceView:
        """What is in a wallet now, or was after everything recorded up to ``at``.

        Raises:
            WalletNotFound: it does not exist or is somebody else's.
        """
        asked_at = datetime.now(UTC)
        # The ledger account knows whose it is: the wallet's own row has nothing to add.
        account = await self._accounts.submit(AccountId(wallet_id))
        if account is not None and account.owner_id != owner_id:
            raise WalletNotFound.of_another()
        if account is None or not _is_wallet(account):
            raise WalletNotFound
        if at is not None:
            return await self._balance_at(account, at)
        return BalanceView(
            wallet_id=wallet_id,
            currency=account.currency,
            balance_minor=account.balance_minor,
            available_minor=account.available_minor,
            held_minor=account.held_minor,
            as_of=asked_at,
        )

    async def _balance_at(self, account: Account, at: datetime) -> BalanceView:
        async with self._db.reading() as tx:
            balance_minor = await self._ledger.balance_at(tx, account.id, at)
        return BalanceView(
            wallet_id=WalletId(account.id),
            currency=account.currency,
            balance_minor=balance_minor,
            available_minor=None,
            held_minor=None,
            as_of=at,
        )

    async def _read_accounts(self, ids: Sequence[AccountId]) -> list[Account | None]:
        async with self._db.reading() as tx:  # a statement: beginning and ending cost as much again
            found = await self._ledger.accounts(tx, set(ids))
        return [found.get(account_id) for account_id in ids]

    async def history(
        self, owner_id: UserId, *, wallet_id: WalletId, before: int | None, limit: int
    ) -> tuple[StoredWallet, list[Entry]]:
        """A wallet's entries, newest first, from below a sequence number.

        Raises:
            WalletNotFound: it does not exist or is somebody else's.
        """
        async with self._db.snapshot() as tx:
            wallet = _owned(await store.one(tx, wallet_id), owner_id)
            entries = await self._ledger.entries(
                tx, AccountId(wallet_id), before_sequence=before, limit=limit
            )
        return wallet, entries

    async def change(self, owner_id: UserId, *, wallet_id: WalletId, act: Act) -> WalletView:
        """Activate, freeze, unfreeze or close one's own wallet. Repeating it is safe.

        Raises:
            WalletNotFound: it does not exist or is somebody else's.
            WalletNotActive: it is pending and would be frozen.
            WalletFrozenByStaff: staff froze it, so its owner can neither unfreeze nor close it.
            WalletClosed: it was closed before.
            Conflict: it is frozen and would be activated.
            AccountNotEmpty: it would be closed and holds money.
        """
        await self._db.run(
            lambda tx: self._change(tx, wallet_id, act, owner_id=owner_id, by_staff=False)
        )
        return await self.view(owner_id, wallet_id=wallet_id)

    async def change_all_of(self, owner_id: UserId, *, act: Act) -> list[WalletView]:
        """Freeze or unfreeze everything somebody holds, as staff. Closed wallets stay as they are.

        Raises:
            WalletNotFound: they hold nothing.
        """

        async def work(tx: Tx) -> None:
            wallets = await store.ids_of_owner(tx, owner_id)
            if not wallets:
                raise WalletNotFound
            for wallet_id in wallets:
                await self._change(
                    tx, wallet_id, act, owner_id=owner_id, by_staff=True, skip_refused=True
                )

        await self._db.run(work)
        return await self.list_wallets(owner_id, after=BEFORE_ALL, limit=_MOST_AT_ONCE)

    async def freeze_with_owner(self, tx: Tx, owner_id: UserId, *, freeze_id: UUID) -> None:
        """Freeze what a user may pay from, because staff froze the user, and remember which."""
        for wallet_id in await store.ids_of_owner(tx, owner_id):
            wallet = await store.one(tx, wallet_id)
            if wallet is None or wallet.standing.status is not WalletStatus.ACTIVE:
                continue
            await self._change(tx, wallet_id, Act.FREEZE, owner_id=owner_id, by_staff=True)
            await store.note_owner_freeze(tx, wallet_id, freeze_id=freeze_id)

    async def thaw_with_owner(self, tx: Tx, owner_id: UserId, *, freeze_id: UUID) -> None:
        """Unfreeze what that freeze froze, unless staff have said something else of it since."""
        for wallet_id in await store.frozen_with_owner(tx, freeze_id):
            await self._change(tx, wallet_id, Act.UNFREEZE, owner_id=owner_id, by_staff=True)

    async def wind_up(self, tx: Tx, owner_id: UserId) -> datetime | None:
        """Close everything somebody holds who is to be erased; when money moved last.

        What they called their wallets is forgotten.

        Raises:
            MoneyRemains: there is money in a wallet, or money is held.
        """
        moved_at: datetime | None = None
        for wallet_id in await store.ids_of_owner(tx, owner_id):
            account = await self._ledger.lock_account(tx, AccountId(wallet_id))
            if account.balance_minor or account.pending_debits or account.pending_credits:
                raise MoneyRemains
            if account.moved_at is not None:
                moved_at = max(account.moved_at, moved_at or account.moved_at)
            await self._change(tx, wallet_id, Act.CLOSE, owner_id=owner_id, by_staff=True)
            await store.unlabel(tx, _owned(await store.lock(tx, wallet_id), owner_id))
        return moved_at

    async def close_late(self, tx: Tx, owner_id: UserId) -> None:
        """Close what was opened for somebody after they were erased; freeze it if it has money."""
        try:
            async with savepoint(tx):
                await self.wind_up(tx, owner_id)
        except MoneyRemains:
            for wallet_id in await store.ids_of_owner(tx, owner_id):
                await self._change(
                    tx,
                    wallet_id,
                    Act.FREEZE,
                    owner_id=owner_id,
                    by_staff=True,
                    skip_refused=True,
                )

    async def _open(
        self,
        tx: Tx,
        wallet_id: WalletId,
        owner_id: UserId,
        currency: Currency,
        *,
        status: WalletStatus,
        label: str = "",
        is_default: bool = False,
    ) -> None:
        now = await store.database_time(tx)
        wallet = StoredWallet(
            id=wallet_id,
            owner_id=owner_id,
            currency=currency,
            label=label,
            standing=StandingWallet(status=status),
            is_default=is_default,
            created_at=now,
            changed_at=now,
        )
        if not await store.insert(tx, wallet):
            return
        await self._ledger.open_account(
            tx,
            NewAccount(
                id=AccountId(wallet.id),
                owner_id=owner_id,
                code=WALLET_ACCOUNT_CODE,
                type=AccountType.LIABILITY,
                currency=currency,
                floor_minor=0,
                status=_ACCOUNT_STATUS[status],
            ),
        )
        limits = self._limits_of(currency)
        for control in starting_controls(
            owner_id, currency, limits=limits, time_zone=self._time_zone
        ):
            await self._ledger.create_control(tx, control)
        created = WalletCreated(
            wallet_id=wallet.id, owner_id=owner_id, currency=currency.code, status=status.value
        )
        await outbox.append(tx, [outbox.outgoing(created, key=str(wallet.id))])

    async def _change(
        self,
        tx: Tx,
        wallet_id: WalletId,
        act: Act,
        *,
        owner_id: UserId,
        by_staff: bool,
        skip_refused: bool = False,
    ) -> None:
        _owned(await store.one(tx, wallet_id), owner_id)
        # The account first: payments lock it before they look at the wallet.
        await self._ledger.lock_account(tx, AccountId(wallet_id))
        wallet = _owned(await store.lock(tx, wallet_id), owner_id)
        if by_staff:
            # what staff say of this wallet counts from now on, whatever froze it before
            await store.forget_owner_freeze(tx, wallet_id)
        standing = next_standing(wallet.standing, act, by_staff=by_staff)
        if isinstance(standing, Refusal):
            if skip_refused:
                return
            raise standing
        if standing == wallet.standing:
            return
        if standing.status is not wallet.standing.status:
            status = _ACCOUNT_STATUS[standing.status]
            await self._ledger.set_status(tx, AccountId(wallet_id), status)
        changed_at = await store.database_time(tx)
        await store.write_standing(
            tx, structs.replace(wallet, standing=standing, changed_at=changed_at)
        )
        fact = _fact(wallet, standing)
        await outbox.append(tx, [outbox.outgoing(fact, key=str(wallet_id))])


def _is_wallet(account: Account) -> bool:
    return account.code == WALLET_ACCOUNT_CODE


def _owned(wallet: StoredWallet | None, owner_id: UserId) -> StoredWallet:
    if wallet is None:
        raise WalletNotFound
    if wallet.owner_id != owner_id:
        raise WalletNotFound.of_another()
    return wallet


def _fact(
    wallet: StoredWallet, standing: StandingWallet
) -> WalletActivated | WalletFrozen | WalletEnded:
    before, after = _state(wallet.standing), _state(standing)
    match standing.status:
        case WalletStatus.FROZEN:
            return WalletFrozen(
                wallet_id=wallet.id,
                owner_id=wallet.owner_id,
                by_staff=standing.frozen_by_staff,
                before=before,
                after=after,
            )
        case WalletStatus.CLOSED:
            return WalletEnded(
                wallet_id=wallet.id, owner_id=wallet.owner_id, before=before, after=after
            )
        case _:
            return WalletActivated(
                wallet_id=wallet.id, owner_id=wallet.owner_id, before=before, after=after
            )


def _state(standing: StandingWallet) -> WalletState:
    return WalletState(status=standing.status.value, frozen_by_staff=standing.frozen_by_staff)
