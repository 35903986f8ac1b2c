"""Some days of a bank, by chance: every act is held against the paper, and all is verified after.

``python -m tests.support.random_days URL SUPERUSER_URL SEED`` prints a `Verdict`. The database is
one of its own, with a clock of its own (`tests.support.clock.set_clock`).
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from datetime import datetime
from random import Random
from typing import Final, Literal

import asyncpg
import msgspec
import uvloop

import guilder
from guilder.kernel.currencies import CURRENCIES, INR
from guilder.kernel.ids import UserId
from guilder.payments.api import PaymentOrder
from guilder.platform.db import Database
from guilder.wallets.api import Act
from tests.support.bank import deposit, transfer, withdrawal
from tests.support.days import Days, House, Unanswered
from tests.support.paper import DAY_MINOR, SINGLE_MINOR, Allowance, Broken, Line

HAS_TO_HAPPEN: Final = frozenset(
    {
        "deposit done",
        "deposit LIMIT_EXCEEDED",
        "deposit ACCOUNT_CLOSED",
        "withdrawal done",
        "withdrawal INSUFFICIENT_FUNDS",
        "transfer done",
        "transfer INSUFFICIENT_FUNDS",
        "transfer LIMIT_EXCEEDED",
        "transfer ACCOUNT_FROZEN",
        "transfer NOT_FOUND",
        "transfer VALIDATION_ERROR",
        "a repetition done",
        "a repetition INSUFFICIENT_FUNDS",
        "a key with other contents IDEMPOTENCY_KEY_REUSED",
        "hold done",
        "hold LIMIT_EXCEEDED",
        "hold INSUFFICIENT_FUNDS",
        "settle done",
        "settle HOLD_EXPIRED",
        "settle AMOUNT_EXCEEDS_ORIGINAL",
        "settle in part done",
        "void done",
        "expire none",
        "expire some",
        "reverse done",
        "reverse AMOUNT_EXCEEDS_ORIGINAL",
        "sweep done",
        "sweep INSUFFICIENT_FUNDS",
        "2 linked done",
        "2 linked INSUFFICIENT_FUNDS",
        "freeze done",
        "close done",
        "close ACCOUNT_NOT_EMPTY",
        "money for one is wanted by many",
        "money for one is held by two",
        "an allowance for one is wanted by many",
        "a key is taken by two",
    }
)
"""What a run that shows nothing has to have come across, or it was no test of it."""

_ORDINARY_ACTS: Final = 15


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """``unknown``: nothing was found, and not everything that had to happen did.

    ``source`` is the code that was judged.
    """

    verdict: Literal["valid", "invalid", "unknown"]
    seed: int
    why: str = ""
    source: str = guilder.__file__


async def _spending_in_a_batch(days: Days) -> None:
    """The third of a batch finds what the first two have left."""
    anna, annas = await days.rich(funds_minor=(amount := days.rng.randint(100, 900)) * 5 // 2)
    _, bens = await days.rich()
    await days.pay(*(transfer(anna, annas, bens, amount_minor=amount) for _ in range(3)))
    await days.pay(withdrawal(anna, annas, amount_minor=days.paper.purses[annas].available + 1))
    await days.pay(withdrawal(anna, annas, amount_minor=days.paper.purses[annas].available))


async def _an_allowance_in_a_batch(days: Days) -> None:
    """An allowance is used up to its last unit, by a batch, and is there again the next day."""
    anna, annas = await days.rich()
    _, bens = await days.rich()
    half = DAY_MINOR // 2
    await days.pay(*(transfer(anna, annas, bens, amount_minor=n) for n in (half, half, half)))
    await days.pay(*(deposit(anna, annas, amount_minor=n) for n in (half, half + 1, half, 1)))
    await days.wait(25)
    await days.pay(transfer(anna, annas, bens, amount_minor=SINGLE_MINOR + 1))
    await days.pay(transfer(anna, annas, bens, amount_minor=SINGLE_MINOR))


async def _keys(days: Days) -> None:
    """A key has one payment a day, in a batch and after it, done or refused."""
    anna, annas = await days.rich(funds_minor=2_000)
    _, bens = await days.rich()
    order = transfer(anna, annas, bens, amount_minor=days.rng.randint(1, 300))
    refused = transfer(anna, annas, bens, amount_minor=3_000)
    await days.pay(order, refused, order, refused)
    await days.pay(msgspec.structs.replace(order, amount_minor=order.amount_minor + 1))
    await days.wait(3)
    await days.pay(order, msgspec.structs.replace(refused, description="again"), refused)
    await days.wait(22)
    await days.pay(order, order)


async def _what_is_not_theirs(days: Days) -> None:
    """Somebody else's wallet, another currency, the wallet of somebody else to pay into."""
    anna, annas = await days.rich()
    ben, bens = await days.rich()
    dollars = CURRENCIES["USD"]
    safe, purse = [await days.wallet(anna, currency=dollars) for _ in range(2)]
    await days.pay(transfer(ben, annas, bens), deposit(ben, annas), withdrawal(ben, annas))
    await days.pay(transfer(anna, annas, bens, currency=dollars), transfer(anna, annas, safe))
    await days.pay(deposit(anna, safe, currency=dollars, amount_minor=900))
    await days.pay(transfer(anna, safe, purse, amount_minor=300))


async def _shut_wallets(days: Days) -> None:
    """Nothing leaves or enters what is frozen or closed."""
    anna, annas = await days.rich(funds_minor=1_000)
    ben, bens = await days.rich()
    empty = await days.wallet(anna)
    await days.change(annas, Act.CLOSE)
    await days.change(annas, Act.FREEZE)
    await days.change(empty, Act.CLOSE)
    await days.pay(transfer(anna, annas, bens), transfer(ben, bens, annas), deposit(anna, annas))
    await days.pay(deposit(anna, empty), transfer(ben, bens, empty))
    await days.post([(bens, -5), (empty, 5)])
    await days.change(annas, Act.UNFREEZE)
    await days.pay(transfer(anna, annas, bens, amount_minor=1_000))
    await days.change(annas, Act.CLOSE)


async def _holds(days: Days) -> None:
    """What is held cannot be spent; what a hold does not take is there again, allowance too."""
    (anna, annas), (_, bens) = await days.rich(funds_minor=DAY_MINOR + 700), await days.rich()
    half = DAY_MINOR // 2
    first, second = [await days.hold(annas, bens, half) for _ in range(2)]
    await days.hold(annas, bens, 1)
    await days.pay(withdrawal(anna, annas, amount_minor=701))
    await days.settle(first, half + 1)
    part = days.rng.randint(1, half - 1)
    await days.settle(first, part)
    await days.settle(first, part)
    await days.pay(transfer(anna, annas, bens, amount_minor=half - part))
    await days.void(second)
    await days.pay(transfer(anna, annas, bens, amount_minor=half + 1))
    await days.pay(transfer(anna, annas, bens, amount_minor=half))
    await days.void(first)
    _, carlas = await days.rich(funds_minor=700)
    third = await days.hold(carlas, bens, 400)
    await days.hold(carlas, bens, 301)
    await days.settle(third, 400)


async def _late_holds(days: Days) -> None:
    """A hold lasts as long as it was said, and not longer."""
    (_, annas), (_, bens) = await days.rich(funds_minor=900), await days.rich()
    early, late, spare = [await days.hold(annas, bens, 300, hours=hours) for hours in (2, 4, 5)]
    await days.wait(1)
    await days.expire()
    await days.expire()
    await days.settle(spare, 300)
    await days.wait(2)
    await days.settle(early, 300)
    await days.expire()
    await days.void(late)
    await days.hold(annas, bens, 600)


async def _reversals(days: Days) -> None:
    """All parts that are undone make no more than the whole."""
    (anna, annas), (_, bens) = await days.rich(), await days.rich()
    await days.pay(transfer(anna, annas, bens, amount_minor=SINGLE_MINOR))
    made = next(reversed(days.paper.moved))
    part = days.rng.randint(1, SINGLE_MINOR - 1)
    await days.reverse(made, part)
    await days.reverse(made, SINGLE_MINOR - part + 1)
    await days.reverse(made, SINGLE_MINOR - part)
    await days.reverse(made, 1)
    await days.pay(transfer(anna, annas, bens, amount_minor=SINGLE_MINOR))


async def _refused_in_the_middle(days: Days) -> None:
    """What is refused leaves the rest of its call as if it had not been there."""
    (anna, annas), (_, bens) = await days.rich(funds_minor=1_000), await days.rich(funds_minor=0)
    taken: list[Line] = [(annas, -900), (bens, 900)]
    for too_much in ([(bens, 1_500), (annas, -1_500)], [(annas, -1_500), (bens, 1_500)]):
        await days.post(too_much, [(annas, -10), (bens, 10)], [(bens, -1), (annas, 1)])
    await days.post_linked([taken, taken], [[(annas, -20), (bens, 20)]])
    await days.post_linked([[(annas, -100), (bens, 100)], [(bens, -50), (annas, 50)]])
    left = days.paper.left(Allowance(owner_id=anna, currency=INR, is_out=True))
    await days.pay(transfer(anna, annas, bens, amount_minor=min(left, 850)))


async def _money_for_one(days: Days) -> None:
    (anna, annas), (_, bens) = await days.rich(funds_minor=1_000), await days.rich()
    shares = [
        [transfer(anna, annas, bens, amount_minor=1_000), withdrawal(anna, annas, amount_minor=900)]
        for _ in days.houses
    ]
    await days.race("money for one is wanted by many", *shares)


async def _money_for_one_hold(days: Days) -> None:
    """Holds have no entries, whose sequence would tell that two have met."""
    (_, annas), (_, bens) = await days.rich(funds_minor=1_000), await days.rich()
    await days.race_to_hold("money for one is held by two", annas, bens, 1_000)


async def _an_allowance_for_one(days: Days) -> None:
    """The wallets differ on both sides: only the owner's allowance is shared."""
    anna, first = await days.rich()
    second = await days.wallet(anna, funds_minor=SINGLE_MINOR)
    shares = []
    for source in (first, second):
        _, to = await days.rich(funds_minor=0)
        shares.append([transfer(anna, source, to, amount_minor=SINGLE_MINOR)])
    await days.race("an allowance for one is wanted by many", *shares)


async def _a_key_for_one(days: Days) -> None:
    """Two payments that share no account and no allowance, only their key."""
    anna, annas = await days.rich()
    to = await days.wallet(anna)
    dollars = CURRENCIES["USD"]
    safe, purse = [await days.wallet(anna, currency=dollars) for _ in range(2)]
    await days.pay(deposit(anna, safe, currency=dollars, amount_minor=900))
    first = transfer(anna, annas, to, amount_minor=10)
    other = transfer(anna, safe, purse, amount_minor=20, currency=dollars, key=first.key)
    await days.race("a key is taken by two", [first], [other])


_EPISODES: Final[tuple[Callable[[Days], Awaitable[None]], ...]] = (
    _spending_in_a_batch,
    _an_allowance_in_a_batch,
    _keys,
    _what_is_not_theirs,
    _shut_wallets,
    _holds,
    _late_holds,
    _reversals,
    _refused_in_the_middle,
    _money_for_one,
    _money_for_one_hold,
    _an_allowance_for_one,
    _a_key_for_one,
)


def _ordinary_order(days: Days) -> PaymentOrder:
    """Anybody's payment from anywhere to anywhere, of an amount that is just possible or not."""
    rng, purses = days.rng, days.paper.purses
    source, to = rng.sample(sorted(purses), 2)
    owner_id = purses[source].owner_id if rng.random() < 0.9 else rng.choice(_people(days))
    left = days.paper.left(
        Allowance(owner_id=owner_id, currency=purses[source].currency, is_out=True)
    )
    likely = [rng.randint(1, 300), left, left + 1, purses[source].available, SINGLE_MINOR]
    more = {"amount_minor": max(1, rng.choice(likely)), "currency": purses[source].currency}
    kind = rng.randrange(4)
    if kind == 0:
        return deposit(owner_id, source, **more)
    if kind == 1:
        return withdrawal(owner_id, source, **more)
    return transfer(owner_id, source, to, **more)


def _people(days: Days) -> list[UserId]:
    return sorted({purse.owner_id for purse in days.paper.purses.values()})


async def _ordinary(days: Days) -> None:
    """A few orders of one batch, an end of some hold, a reversal of something, or time passes."""
    rng = days.rng
    open_holds = [id_ for id_, made in days.paper.moved.items() if made.state == "pending"]
    undoable = [id_ for id_, made in days.paper.moved.items() if made.left]
    wallets = [id_ for id_, purse in days.paper.purses.items() if purse.currency is INR]
    act = rng.randrange(10)
    if act == 0:
        await days.wait(rng.choice((1, 3, 9, 13, 25)))
    elif act == 1:
        await days.expire()
    elif act == 2 and open_holds:
        made = rng.choice(open_holds)
        await days.settle(made, rng.randint(1, days.paper.moved[made].amount))
    elif act == 3 and undoable:
        made = rng.choice(undoable)
        await days.reverse(made, rng.randint(1, days.paper.moved[made].left))
    elif act == 4:
        source, to = rng.sample(wallets, 2)
        await days.hold(source, to, rng.randint(1, 900), hours=rng.randint(1, 30))
    else:
        orders = [_ordinary_order(days) for _ in range(rng.randint(1, 8))]
        await days.pay(*orders, *rng.sample(orders, 1))


async def _live(days: Days) -> None:
    acts = [*_EPISODES, *[_ordinary] * _ORDINARY_ACTS]
    for _ in range(3):
        await days.rich(funds_minor=SINGLE_MINOR)
    days.rng.shuffle(acts)
    for act in acts:
        await act(days)
        await days.compare()


async def _judged(url: str, superuser_url: str, *, seed: int) -> Verdict:
    superuser = await asyncpg.connect(superuser_url)
    pools = [await Database.connect(url, max_connections=4) for _ in range(2)]
    houses = [House(pool) for pool in pools]
    now: datetime = await superuser.fetchval("SELECT clock_timestamp()")
    days = Days(houses, rng=Random(seed), superuser=superuser, now=now)
    verdict = await _verdict(days, seed=seed)
    for house, pool in zip(houses, pools, strict=True):
        await house.engine.close()
        await pool.close()
    await superuser.close()
    return verdict


async def _verdict(days: Days, *, seed: int) -> Verdict:
    try:
        await _live(days)
    except Broken as broken:
        return Verdict(verdict="invalid", seed=seed, why=str(broken))
    except Unanswered as unanswered:
        unknown = str(unanswered)
    else:
        unknown = ""
    if findings := await days.houses[0].verify():
        return Verdict(verdict="invalid", seed=seed, why=f"guilder verify: {findings[0]}")
    if unknown:
        return Verdict(verdict="unknown", seed=seed, why=unknown)
    if missing := HAS_TO_HAPPEN - days.paper.seen:
        return Verdict(verdict="unknown", seed=seed, why=f"never: {', '.join(sorted(missing))}")
    return Verdict(verdict="valid", seed=seed)


if __name__ == "__main__":
    verdict = uvloop.run(_judged(sys.argv[1], sys.argv[2], seed=int(sys.argv[3])))
    print(msgspec.json.encode(verdict).decode())
