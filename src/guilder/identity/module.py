"""Wires identity: what it is built from, and what it gives to an application."""

from __future__ import annotations

import time
from typing import Final

from guilder.identity import jobs
from guilder.identity.api import Staff
from guilder.identity.http.keys import KeyRoutes
from guilder.identity.http.roles import RoleRoutes
from guilder.identity.http.sign_in import IdentityRoutes
from guilder.identity.http.staff import StaffRoutes
from guilder.identity.service.access import AccessTokens
from guilder.identity.service.freezes import Freezes
from guilder.identity.service.key_rotation import KeyRotation
from guilder.identity.service.passwords import PasswordCost, Passwords
from guilder.identity.service.people import People
from guilder.identity.service.register import Registration
from guilder.identity.service.revocations import Revocations
from guilder.identity.service.roles import Roles
from guilder.identity.service.sessions import Sessions
from guilder.identity.service.sign_in import SignIn
from guilder.identity.service.staff import StaffAppointments
from guilder.identity.store.person_keys import PersonalKeys
from guilder.identity.store.users import UserStore
from guilder.platform.auth import AUDIENCE, ISSUER
from guilder.platform.db import Database
from guilder.platform.envelopes import OuterKeys
from guilder.platform.keys import KeyFolder, UnixTime
from guilder.platform.module import Job, Module

DEFAULT_REGION: Final = "IN"


def build(
    *,
    db: Database,
    keys: KeyFolder,
    contacts: OuterKeys,
    issuer: str = ISSUER,
    audience: str = AUDIENCE,
    default_region: str = DEFAULT_REGION,
    password_cost: PasswordCost | None = None,
    hashes_at_once: int | None = None,
    rotate_keys_after_s: float = 0,
    now: UnixTime = time.time,
) -> Module:
    """Identity, serving. ``default_region`` is where a phone without a country code is from.

    ``contacts`` encrypt people's names and addresses for those who have to reach them. Keys that
    sign are succeeded once they are ``rotate_keys_after_s`` old; 0 leaves it to a command.
    """
    passwords = Passwords(cost=password_cost, at_once=hashes_at_once)
    users = UserStore(keys=PersonalKeys(contacts))
    registration = Registration(
        db=db, users=users, passwords=passwords, contacts=contacts, default_region=default_region
    )
    tokens = AccessTokens(keys=keys, issuer=issuer, audience=audience, now=now)
    sessions = Sessions(db=db, users=users, tokens=tokens)
    sign_in = SignIn(
        db=db,
        users=users,
        passwords=passwords,
        sessions=sessions,
        default_region=default_region,
    )
    roles = Roles(db)
    staff_routes = StaffRoutes(
        people=People(db=db, users=users, default_region=default_region),
        freezes=Freezes(db=db, sessions=sessions),
        roles=roles,
    )
    sign_in_routes = IdentityRoutes(registration=registration, sign_in=sign_in)
    routes = (*sign_in_routes.routes(), *KeyRoutes(keys).routes())
    return Module(
        name="identity",
        service_names=("identity", "auth", "rbac"),
        routes=routes,
        jobs=(
            jobs.forget_revocations(Revocations(db)),
            *_rotations(keys, after_s=rotate_keys_after_s),
        ),
        on_stop=(passwords.close,),
    )


def _rotations(keys: KeyFolder, *, after_s: float) -> tuple[Job, ...]:
    return (jobs.rotate_keys(KeyRotation(keys, after_s=after_s)),) if after_s else ()


def build_revocations(db: Database) -> Revocations:
    """What `guilder.platform.standing` is fed from, in every process that verifies tokens."""
    return Revocations(db)


def build_registration(
    *, db: Database, contacts: OuterKeys, default_region: str = DEFAULT_REGION
) -> Registration:
    """Registers customers, for the command line."""
    return Registration(
        db=db,
        users=UserStore(keys=PersonalKeys(contacts)),
        passwords=Passwords(),
        contacts=contacts,
        default_region=default_region,
    )


def build_staff(
    *, db: Database, contacts: OuterKeys, default_region: str = DEFAULT_REGION
) -> Staff:
    """Appoints staff, for the command line."""
    return StaffAppointments(
        db=db,
        users=UserStore(keys=PersonalKeys(contacts)),
        passwords=Passwords(at_once=1),
        contacts=contacts,
        default_region=default_region,
    )
