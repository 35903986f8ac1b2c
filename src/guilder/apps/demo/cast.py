"""Who is in the demonstration, where they live, and what things cost there. All of it invented."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from guilder.kernel.currencies import CURRENCIES, Currency

DOMAIN: Final = "demo.example"
PASSWORD: Final = "saffron harbour 42"  # noqa: S105 - printed for whoever looks at the demo
"""Everybody's password. The demonstration is refused in production."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """What things cost in one place, lowest and highest, in whole units of its currency.

    ``step_minor`` is what prices are multiples of.
    """

    salary: tuple[int, int]
    rent: tuple[int, int]
    groceries: tuple[int, int]
    coffee: tuple[int, int]
    fare: tuple[int, int]
    energy: tuple[int, int]
    film: tuple[int, int]
    books: tuple[int, int]
    dinner: tuple[int, int]
    cash: tuple[int, int]
    step_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where people live: the currency, the clock, who employs them, and what things cost."""

    currency: Currency
    time_zone: str
    employer: str
    prices: Prices


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """Somebody who signs in. ``place`` is the code of the currency they live in."""

    name: str
    email: str
    phone: str
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Business:
    """A business with a wallet in each of its currencies."""

    name: str
    email: str
    phone: str
    currencies: tuple[str, ...]


PLACES: Final = {
    "INR": Place(
        currency=CURRENCIES["INR"],
        time_zone="Asia/Kolkata",
        employer="Saffron Software",
        prices=Prices(
            salary=(68_000, 152_000),
            rent=(16_500, 34_000),
            groceries=(480, 2_900),
            coffee=(140, 340),
            fare=(20, 90),
            energy=(900, 3_100),
            film=(499, 499),
            books=(250, 1_450),
            dinner=(700, 3_200),
            cash=(2_000, 6_000),
            step_minor=100,
        ),
    ),
    "USD": Place(
        currency=CURRENCIES["USD"],
        time_zone="America/New_York",
        employer="Bluestone Studios",
        prices=Prices(
            salary=(4_100, 7_600),
            rent=(1_250, 2_300),
            groceries=(24, 140),
            coffee=(4, 8),
            fare=(3, 6),
            energy=(45, 120),
            film=(16, 16),
            books=(12, 48),
            dinner=(28, 110),
            cash=(40, 160),
            step_minor=5,
        ),
    ),
    "EUR": Place(
        currency=CURRENCIES["EUR"],
        time_zone="Europe/Berlin",
        employer="Nordlicht Engineering",
        prices=Prices(
            salary=(2_700, 4_600),
            rent=(740, 1_350),
            groceries=(18, 95),
            coffee=(3, 6),
            fare=(2, 4),
            energy=(50, 115),
            film=(14, 14),
            books=(10, 42),
            dinner=(22, 85),
            cash=(40, 150),
            step_minor=10,
        ),
    ),
    "GBP": Place(
        currency=CURRENCIES["GBP"],
        time_zone="Europe/London",
        employer="Thameside Consulting",
        prices=Prices(
            salary=(2_450, 4_200),
            rent=(820, 1_500),
            groceries=(15, 88),
            coffee=(3, 5),
            fare=(2, 4),
            energy=(48, 130),
            film=(11, 11),
            books=(9, 35),
            dinner=(20, 76),
            cash=(30, 120),
            step_minor=5,
        ),
    ),
    "JPY": Place(
        currency=CURRENCIES["JPY"],
        time_zone="Asia/Tokyo",
        employer="Sakura Robotics",
        prices=Prices(
            salary=(268_000, 430_000),
            rent=(72_000, 128_000),
            groceries=(1_200, 7_800),
            coffee=(420, 780),
            fare=(180, 420),
            energy=(5_200, 11_800),
            film=(1_490, 1_490),
            books=(880, 3_600),
            dinner=(2_400, 9_200),
            cash=(10_000, 30_000),
            step_minor=10,
        ),
    ),
    "BHD": Place(
        currency=CURRENCIES["BHD"],
        time_zone="Asia/Bahrain",
        employer="Pearl Bay Trading",
        prices=Prices(
            salary=(680, 1_350),
            rent=(230, 420),
            groceries=(6, 38),
            coffee=(1, 3),
            fare=(1, 2),
            energy=(12, 38),
            film=(4, 4),
            books=(4, 16),
            dinner=(8, 34),
            cash=(20, 60),
            step_minor=50,
        ),
    ),
}

_EVERYWHERE: Final = tuple(PLACES)

CAFE: Final = "Monsoon Coffee Roasters"
GROCER: Final = "Green Basket Grocers"
LANDLORD: Final = "Lakeview Homes"
ENERGY: Final = "Northwind Energy"
TRANSIT: Final = "Metroline Transit"
CINEMA: Final = "Starlight Streaming"
BOOKSHOP: Final = "Page & Quill Books"
RESTAURANT: Final = "The Copper Kettle"

MERCHANTS: Final = tuple(
    Business(
        name=name,
        email=f"{box}.{DOMAIN}",
        phone=f"+9198765010{number:02}",
        currencies=_EVERYWHERE,
    )
    for number, (name, box) in enumerate(
        (
            (CAFE, "till@monsoon"),
            (GROCER, "till@greenbasket"),
            (LANDLORD, "rent@lakeview"),
            (ENERGY, "billing@northwind"),
            (TRANSIT, "fares@metroline"),
            (CINEMA, "billing@starlight"),
            (BOOKSHOP, "till@pageandquill"),
            (RESTAURANT, "till@copperkettle"),
        )
    )
)
EMPLOYERS: Final = tuple(
    Business(
        name=place.employer,
        email=f"payroll@{place.employer.split()[0].lower()}.{DOMAIN}",
        phone=f"+9198765020{number:02}",
        currencies=(code,),
    )
    for number, (code, place) in enumerate(PLACES.items())
)
BUSINESSES: Final = (*EMPLOYERS, *MERCHANTS)


def _member(name: str, *, phone: str, place: str) -> Member:
    given, _ = name.split(maxsplit=1)
    return Member(name=name, email=f"{given.lower()}@{DOMAIN}", phone=phone, place=place)


PEOPLE: Final = (
    _member("Ananya Sharma", phone="+91 98765 00001", place="INR"),
    _member("Rohan Mehta", phone="+91 98765 00002", place="INR"),
    _member("Priya Nair", phone="+91 98765 00003", place="INR"),
    _member("Arjun Reddy", phone="+91 98765 00004", place="INR"),
    _member("Meera Iyer", phone="+91 98765 00005", place="INR"),
    _member("Grace Miller", phone="+1 202 555 0143", place="USD"),
    _member("Daniel Carter", phone="+1 202 555 0144", place="USD"),
    _member("Sofia Alvarez", phone="+1 202 555 0145", place="USD"),
    _member("Anna Schneider", phone="+49 30 23125 001", place="EUR"),
    _member("Ben Fischer", phone="+49 30 23125 002", place="EUR"),
    _member("Camille Bernard", phone="+33 1 99 00 12 34", place="EUR"),
    _member("Oliver Wright", phone="+44 20 7946 0958", place="GBP"),
    _member("Amelia Hughes", phone="+44 20 7946 0959", place="GBP"),
    _member("Yuki Tanaka", phone="+81 3 1234 5678", place="JPY"),
    _member("Haruto Sato", phone="+81 3 1234 5679", place="JPY"),
    _member("Layla Haddad", phone="+973 3600 1234", place="BHD"),
    _member("Omar Yusuf", phone="+973 3600 1235", place="BHD"),
)
"""People with a job, a home and habits. The first is the one to sign in as."""

NEWCOMER: Final = _member("Kabir Khan", phone="+91 98765 00006", place="INR")
"""Somebody who has just come: not verified, so with the limits that everybody begins with."""

LOST: Final = PEOPLE[14]
"""Whose wallet is frozen: the phone was lost."""
LEAVING: Final = PEOPLE[5]
"""Who has closed a wallet that is not needed any more."""
ADMINISTRATOR: Final = f"admin@{DOMAIN}"
