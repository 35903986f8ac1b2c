"""What the people of the demonstration do with their money, day by day. Pure: the same seed and the
same first day give the same payments, and a later `until` only adds to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from random import Random
from typing import Final
from zoneinfo import ZoneInfo

from guilder.apps.demo import cast
from guilder.apps.demo.cast import EMPLOYERS, LEAVING, NEWCOMER, PEOPLE, PLACES, Member, Place
from guilder.kernel.currencies import Currency
from guilder.payments.api import PaymentType

SAVINGS: Final = "Savings"
HOLIDAY: Final = "Holiday"

_MONTHS: Final = 3
_COFFEES: Final = ("Flat white", "Filter coffee", "Cappuccino and a croissant", "Two espressos")
_SHOPPING: Final = ("Weekly shop", "Vegetables and milk", "Groceries", "Fruit, bread and eggs")
_DINNERS: Final = ("Dinner for two", "Dinner with friends", "Birthday dinner", "Sunday lunch")
_FAVOURS: Final = (
    "Concert tickets",
    "Cab to the airport",
    "Lunch, thank you!",
    "Share of the present for Meera",
    "Football on Thursday",
    "Petrol for the trip",
)
_BOOKS: Final = ("Two paperbacks", "A cookbook", "Notebooks and a pen", "Novel for the train")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pocket:
    """One of somebody's wallets: the default one of a currency, or another by its label."""

    owner: str
    """The owner's email."""
    currency: Currency
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A payment to be made. A deposit or top-up has no ``source``, a withdrawal no ``target``."""

    at: datetime
    type: PaymentType
    amount_minor: int
    description: str
    source: Pocket | None = None
    target: Pocket | None = None

    @property
    def pocket(self) -> Pocket:
        """The wallet it begins at, whose owner orders it."""
        pocket = self.source or self.target
        if pocket is None:
            raise ValueError("a payment has a source or a target")
        return pocket


def first_day(today: date) -> date:
    """Where the activity begins: the first day of the month three months before."""
    month = today.year * 12 + today.month - 1 - _MONTHS
    return date(month // 12, month % 12 + 1, 1)


def planned(*, seed: int, since: date, until: datetime) -> list[Planned]:
    """Everything that is paid from the first day on, before ``until``, in order of time."""
    lives = [_Life(member, seed=seed) for member in PEOPLE]
    paid = [payment for life in lives for payment in life.payments(since, until=until)]
    paid += _payrolls(lives, since=since, until=until)
    paid += _settlements(paid)
    paid += _newcomer(until)
    return sorted((payment for payment in paid if payment.at < until), key=lambda p: p.at)


def default_pocket(email: str, *, place: str) -> Pocket:
    """Somebody's default wallet in the currency of a place."""
    return Pocket(owner=email, currency=PLACES[place].currency)


class _Life:
    """One member's habits, and everything they pay."""

    def __init__(self, member: Member, *, seed: int) -> None:
        self._random = Random(f"{seed}:{member.email}")  # noqa: S311 - invented, no secret
        self.member = member
        self.place: Place = PLACES[member.place]
        self.pocket = default_pocket(member.email, place=member.place)
        self._friends = [
            other for other in PEOPLE if other.place == member.place and other is not member
        ]
        means = self._random.random()
        self.salary = _agreed(self.place, self.place.prices.salary, means)
        self._rent = _agreed(self.place, self.place.prices.rent, means * 0.8)

    def payments(self, since: date, *, until: datetime) -> Iterator[Planned]:
        """Everything from the first day on."""
        yield self._in(
            since, time(5, 0), PaymentType.TOPUP, self.salary, "Top-up from bank account"
        )
        for day in _days(since, until=until):
            yield from self._monthly(day)
            yield from self._everyday(day)

    def _monthly(self, day: date) -> Iterator[Planned]:
        prices, month = self.place.prices, f"{day:%B %Y}"
        before = f"{day.replace(day=1) - timedelta(days=1):%B %Y}"
        match day.day:
            case 3:
                yield self._pay(day, time(8, 5), cast.LANDLORD, self._rent, f"Rent for {month}")
            case 5:
                saved = _rounded(self.place, self.salary // 10)
                savings = Pocket(
                    owner=self.member.email, currency=self.place.currency, label=SAVINGS
                )
                yield self._to(day, time(7, 30), savings, saved, "Put aside for a rainy day")
            case 8:
                amount = self._price(prices.energy)
                yield self._pay(day, time(6, 0), cast.ENERGY, amount, f"Electricity, {before}")
            case 12:
                amount = self._price(prices.film)
                yield self._pay(day, time(0, 30), cast.CINEMA, amount, "Monthly plan")
            case 19:
                yield from self._too_much(day)

    def _everyday(self, day: date) -> Iterator[Planned]:
        prices, works = self.place.prices, day.weekday() < 5
        if self._chance(0.55 if works else 0.2):
            said = self._random.choice(_COFFEES)
            yield self._pay(day, self._at(7, 10), cast.CAFE, self._price(prices.coffee), said)
        if works and self._chance(0.5):
            fare = self._price(prices.fare)
            yield self._pay(day, self._at(8, 9), cast.TRANSIT, fare, "Day ticket, zones 1 and 2")
        if self._chance(0.28):
            said = self._random.choice(_SHOPPING)
            yield self._pay(day, self._at(17, 20), cast.GROCER, self._price(prices.groceries), said)
        if self._chance(0.04):
            said = self._random.choice(_BOOKS)
            yield self._pay(day, self._at(12, 18), cast.BOOKSHOP, self._price(prices.books), said)
        if self._chance(0.05):
            cash = self._price(prices.cash)
            yield self._out(day, self._at(10, 19), cash, "Cash withdrawal")
        if self._chance(0.06):
            said = self._random.choice(_FAVOURS)
            yield self._to(day, self._at(9, 22), self._friend(), self._favour(), said)
        if day.weekday() in {4, 5} and self._chance(0.4):
            yield from self._dinner(day)

    def _dinner(self, day: date) -> Iterator[Planned]:
        """One pays for all, and a friend pays a share back in the morning."""
        bill, at = self._price(self.place.prices.dinner), self._at(20, 22)
        said = self._random.choice(_DINNERS)
        yield self._pay(day, at, cast.RESTAURANT, bill, said)
        yield Planned(
            at=self._moment(day + timedelta(days=1), self._at(9, 13)),
            type=PaymentType.TRANSFER,
            source=self._friend(),
            target=self.pocket,
            amount_minor=_rounded(self.place, bill // 2),
            description=f"My half: {said[0].lower()}{said[1:]}",
        )

    def _too_much(self, day: date) -> Iterator[Planned]:
        """Now and then somebody tries to pay what they do not have."""
        wish = {2: "Deposit for the new flat", 6: "Used car", 13: "Camera", 16: "Share of a boat"}
        said = wish.get(PEOPLE.index(self.member))
        if said is not None and day.month % 2:
            yield self._to(day, time(14, 20), self._friend(), self.salary * 9, said)

    def _pay(
        self, day: date, at: time, business: str, amount_minor: int, description: str
    ) -> Planned:
        pocket = default_pocket(_EMAILS[business], place=self.member.place)
        return self._to(day, at, pocket, amount_minor, description)

    def _to(
        self, day: date, at: time, target: Pocket, amount_minor: int, description: str
    ) -> Planned:
        return Planned(
            at=self._moment(day, at),
            type=PaymentType.TRANSFER,
            source=self.pocket,
            target=target,
            amount_minor=amount_minor,
            description=description,
        )

    def _in(
        self, day: date, at: time, type_: PaymentType, amount_minor: int, description: str
    ) -> Planned:
        return Planned(
            at=self._moment(day, at),
            type=type_,
            target=self.pocket,
            amount_minor=amount_minor,
            description=description,
        )

    def _out(self, day: date, at: time, amount_minor: int, description: str) -> Planned:
        return Planned(
            at=self._moment(day, at),
            type=PaymentType.WITHDRAWAL,
            source=self.pocket,
            amount_minor=amount_minor,
            description=description,
        )

    def _friend(self) -> Pocket:
        friend = self._random.choice(self._friends)
        return default_pocket(friend.email, place=friend.place)

    def _chance(self, of_one: float) -> bool:
        return self._random.random() < of_one

    def _price(self, bounds: tuple[int, int]) -> int:
        return _between(self.place, bounds, self._random.random() ** 2)

    def _favour(self) -> int:
        return _rounded(self.place, self._price(self.place.prices.dinner) // 2)

    def _at(self, earliest: int, latest: int) -> time:
        minute = self._random.randrange(earliest * 60, latest * 60)
        return time(minute // 60, minute % 60, self._random.randrange(60))

    def _moment(self, day: date, at: time) -> datetime:
        return _moment(self.place, day, at)


_EMAILS: Final = {business.name: business.email for business in cast.BUSINESSES}


def _payrolls(lives: Iterable[_Life], *, since: date, until: datetime) -> Iterator[Planned]:
    """Each employer is funded and pays everybody on the first of a month, for the month before."""
    listed = list(lives)
    for employer in EMPLOYERS:
        (code,) = employer.currencies
        staff = [life for life in listed if life.member.place == code]
        pocket = default_pocket(employer.email, place=code)
        for day in _days(since, until=until):
            if day.day == 1:
                month = f"{day - timedelta(days=1):%B %Y}"
                yield Planned(
                    at=_moment(PLACES[code], day, time(8, 30)),
                    type=PaymentType.DEPOSIT,
                    target=pocket,
                    amount_minor=sum(life.salary for life in staff),
                    description=f"Payroll funding, {month}",
                )
                for life in staff:
                    yield Planned(
                        at=_moment(PLACES[code], day, time(9, 0)),
                        type=PaymentType.TRANSFER,
                        source=pocket,
                        target=life.pocket,
                        amount_minor=life.salary,
                        description=f"Salary {month}",
                    )


def _settlements(paid: Iterable[Planned]) -> Iterator[Planned]:
    """On the 28th each merchant sends most of what came in to its bank."""
    received: dict[tuple[Pocket, date], int] = {}
    merchants = {merchant.email for merchant in cast.MERCHANTS}
    for payment in paid:
        if payment.target is not None and payment.target.owner in merchants:
            settled = payment.at.date().replace(day=28)
            if payment.at.date() < settled:
                key = payment.target, settled
                received[key] = received.get(key, 0) + payment.amount_minor
    for (pocket, day), total in received.items():
        place = PLACES[pocket.currency.code]
        yield Planned(
            at=_moment(place, day, time(22, 0)),
            type=PaymentType.WITHDRAWAL,
            source=pocket,
            amount_minor=_rounded(place, total * 7 // 10),
            description=f"Settlement to bank account, {day:%B %Y}",
        )


def _newcomer(until: datetime) -> Iterator[Planned]:
    """Somebody comes in the last week, buys a coffee or two, and asks for more than is allowed."""
    place = PLACES[NEWCOMER.place]
    pocket = default_pocket(NEWCOMER.email, place=NEWCOMER.place)
    first = until.date() - timedelta(days=4)
    cafe = default_pocket(_EMAILS[cast.CAFE], place=NEWCOMER.place)
    friend = default_pocket(PEOPLE[0].email, place=NEWCOMER.place)
    yield Planned(
        at=_moment(place, first, time(11, 2)),
        type=PaymentType.TOPUP,
        target=pocket,
        amount_minor=8_000 * place.currency.minor_per_unit,
        description="First top-up",
    )
    for days, target, units, said in (
        (0, cafe, 180, "Filter coffee"),
        (1, cafe, 240, "Two filter coffees"),
        (1, friend, 12_500, "Back for the phone"),
        (2, friend, 1_200, "Back for the phone, first part"),
    ):
        yield Planned(
            at=_moment(place, first + timedelta(days=days), time(12 + days * 2, len(said))),
            type=PaymentType.TRANSFER,
            source=pocket,
            target=target,
            amount_minor=units * place.currency.minor_per_unit,
            description=said,
        )


def pockets() -> dict[Pocket, None]:
    """Every wallet that somebody has, default wallets before others."""
    members = (*PEOPLE, NEWCOMER)
    found = [default_pocket(member.email, place=member.place) for member in members]
    for business in cast.BUSINESSES:
        found += [default_pocket(business.email, place=code) for code in business.currencies]
    for member in PEOPLE:
        currency = PLACES[member.place].currency
        found.append(Pocket(owner=member.email, currency=currency, label=SAVINGS))
    holiday = PLACES[LEAVING.place].currency
    found.append(Pocket(owner=LEAVING.email, currency=holiday, label=HOLIDAY))
    return dict.fromkeys(found)


def _days(since: date, *, until: datetime) -> Iterator[date]:
    day = since
    while day <= until.date():
        yield day
        day += timedelta(days=1)


def _moment(place: Place, day: date, at: time) -> datetime:
    return datetime.combine(day, at, ZoneInfo(place.time_zone))


def _between(place: Place, bounds: tuple[int, int], share: float) -> int:
    low, high = (bound * place.currency.minor_per_unit for bound in bounds)
    return _rounded(place, low + round((high - low) * share))


def _agreed(place: Place, bounds: tuple[int, int], share: float) -> int:
    """A sum that two people settled on: two digits, then zeros."""
    low, high = bounds
    digit = int(10 ** (len(str(low)) - 2))
    return round((low + (high - low) * share) / digit) * digit * place.currency.minor_per_unit


def _rounded(place: Place, amount_minor: int) -> int:
    step = place.prices.step_minor
    return max(step, amount_minor // step * step)
