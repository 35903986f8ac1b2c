"""``guilder admin create``: the first member of staff, who can then do what administrators may."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from guilder.apps.compose import outer_keys
from guilder.apps.database import any_database, pool
from guilder.apps.session import begin, say
from guilder.identity.api import Appointed, Staff
from guilder.identity.module import build_staff
from guilder.kernel.errors import ValidationFailed
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


def register(cli: typer.Typer) -> None:
    """Add the command."""
    admin = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    admin.callback(help="Appoint administrators.")(_admin)
    admin.command("create", short_help="Make a user an administrator.")(create)
    cli.add_typer(admin, name="admin", short_help="Appoint administrators.")


def _admin() -> None:
    pass


def create(
    email: Annotated[str, typer.Option(help="Email of the administrator.", prompt="Email")],
    name: Annotated[str | None, typer.Option(help="Full name, for a new user.")] = None,
) -> None:
    """Make the user with this email an administrator, and make the user when there is none.

    A new user needs a password: GUILDER_ADMIN_PASSWORD, or it is asked for.
    """
    settings = begin()
    with any_database(settings, report=say) as reached:
        try:
            appointed = asyncio.run(
                _appoint(settings, access=reached.access, email=email, name=name)
            )
        except ValidationFailed as refusal:
            raise CannotAppoint(refusal) from None
    how = "is an administrator, newly made" if appointed.created else "is now an administrator"
    print(f"{appointed.email} {how}. Sign in at /api/v1/auth/login.")


async def _appoint(
    settings: Settings, *, access: Access, email: str, name: str | None
) -> Appointed:
    async with pool(access, settings=settings, name="admin") as db:
        staff: Staff = build_staff(
            db=db, contacts=outer_keys(settings), default_region=settings.default_region
        )
        if await staff.is_registered(email):
            return await staff.appoint(email=email, role=ADMIN)
        return await staff.appoint(
            email=email,
            role=ADMIN,
            full_name=name or typer.prompt("Full name"),
            password=_password(settings),
        )


def _password(settings: Settings) -> str:
    given = settings.admin_password
    if given is not None:
        return given.get_secret_value()
    typed: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    return typed
