"""``guilder admin``: makes the first administrator, and lets one in who lost second factors."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from typing import Annotated

import typer

from guilder.apps.compose import key_folder, outer_keys
from guilder.apps.database import any_database, pool
from guilder.apps.session import begin, say
from guilder.identity.api import BY_COMMAND, AccountView, Appointed, Staff
from guilder.identity.module import build_factor_resets, build_staff
from guilder.kernel.errors import NotFound, ValidationFailed
from guilder.platform.permissions import ADMIN
from guilder.platform.postgres.access import Access
from guilder.platform.settings import Settings
from guilder.platform.startup import CannotStart


class CannotAppoint(CannotStart):
    """The email, the name or the password will not do."""

    def __init__(self, refusal: ValidationFailed) -> None:
        fields = refusal.details.get("fields")
        self.problems = dict(fields) if isinstance(fields, dict) else {"request": refusal.message}
        super().__init__(refusal.message)

    @property
    def lines(self) -> tuple[str, ...]:
        """Each field with what is wrong with it."""
        return tuple(
            f"the {name.replace('_', ' ')} {problem}" for name, problem in self.problems.items()
        )


class CannotReset(CannotStart):
    """Nobody has this email."""


def register(cli: typer.Typer) -> None:
    """Add the commands."""
    admin = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    admin.callback(help="Appoint administrators.")(_admin)
    admin.command("create", short_help="Make a user an administrator.")(create)
    admin.command("reset-second-factors", short_help="Let somebody in who lost their factors.")(
        reset_second_factors
    )
    cli.add_typer(admin, name="admin", short_help="Appoint administrators.")


def _admin() -> None:
    pass


def create(
    email: Annotated[str, typer.Option(help="Email of the administrator.", prompt="Email")],
    *,
    name: Annotated[str | None, typer.Option(help="Full name, for a new user.")] = None,
    existing: Annotated[
        bool, typer.Option("--existing", help="Do not ask whether an existing user is meant.")
    ] = False,
    reason: Annotated[
        str | None, typer.Option(help="Why, without naming the person: it is recorded.")
    ] = None,
) -> None:
    """Make the user with this email an administrator, and make the user when there is none.

    A new user needs a password: GUILDER_ADMIN_PASSWORD, or it is asked for. An existing one keeps
    name and password, must have proved that the email is theirs, and signs in again.
    """
    settings = begin()
    why = reason or _asked("Reason", default=BY_COMMAND)
    wish = _Wish(email=email, name=name, may_exist=existing, reason=why)
    with any_database(settings, report=say) as reached:
        try:
            appointed = asyncio.run(_appoint(settings, access=reached.access, wish=wish))
        except ValidationFailed as refusal:
            raise CannotAppoint(refusal) from None
    how = (
        "is an administrator, newly made"
        if appointed.created
        else "is now an administrator, under the password that they have"
    )
    print(f"{appointed.email} {how}. Sign in at /api/v1/auth/login.")


def reset_second_factors(
    email: Annotated[str, typer.Option(help="Email of the user.", prompt="Email")],
    reason: Annotated[
        str, typer.Option(help="Why, without naming the person: it is recorded.", prompt="Reason")
    ],
) -> None:
    """Take a user's second factors and recovery codes away, and end all of their sessions.

    For an administrator whom no other can help. The password alone signs in from then on, so make
    sure who is asking, and let them add a factor at once.
    """
    settings = begin()
    with any_database(settings, report=say) as reached:
        try:
            asyncio.run(_reset(settings, access=reached.access, email=email, reason=reason))
        except ValidationFailed as refusal:
            raise CannotAppoint(refusal) from None
        except NotFound as refusal:
            raise CannotReset(refusal.message) from None
    print(f"{email} signs in with the password alone.")


async def _reset(settings: Settings, *, access: Access, email: str, reason: str) -> None:
    async with pool(access, settings=settings, name="admin") as db:
        resets = build_factor_resets(
            db=db, keys=key_folder(settings), contacts=outer_keys(settings)
        )
        await resets.reset_for(email, reason=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """Who is to be an administrator."""

    email: str
    name: str | None
    may_exist: bool
    reason: str


async def _appoint(settings: Settings, *, access: Access, wish: _Wish) -> Appointed:
    async with pool(access, settings=settings, name="admin") as db:
        staff: Staff = build_staff(
            db=db,
            keys=key_folder(settings),
            contacts=outer_keys(settings),
            default_region=settings.default_region,
        )
        found = await staff.registered(wish.email)
        if found is not None:
            if not wish.may_exist:
                _confirm(found)
            return await staff.appoint(email=wish.email, role=ADMIN, reason=wish.reason)
        return await staff.appoint(
            email=wish.email,
            role=ADMIN,
            full_name=wish.name or typer.prompt("Full name"),
            password=_password(settings),
            reason=wish.reason,
        )


def _confirm(found: AccountView) -> None:
    """Ask whether this user is meant. Whoever cannot be asked says so with --existing."""
    since = f"{found.created_at:%d %B %Y}"
    typer.confirm(
        f"{found.email} is {found.full_name}, registered on {since}. Is this who you mean?",
        abort=True,
        err=True,
    )


def _asked(question: str, *, default: str) -> str:
    """What is answered at a terminal; ``default`` where nobody is there to ask."""
    if not sys.stdin.isatty():
        return default
    answer: str = typer.prompt(question, default=default)
    return answer


def _password(settings: Settings) -> str:
    given = settings.admin_password
    if given is not None:
        return given.get_secret_value()
    typed: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    return typed
