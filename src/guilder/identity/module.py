"""Wires identity: what it is built from, and what it gives to an application."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from guilder.identity import jobs
from guilder.identity.api import Staff
from guilder.identity.api.outside import Provider
from guilder.identity.api.personal_data import Erasures, ErasureTerms, Estates
from guilder.identity.api.second_factors import FactorResets
from guilder.identity.api.verifications import Verifications, VerificationTokens
from guilder.identity.http.appointments import AppointmentRoutes
from guilder.identity.http.clients import ClientRoutes
from guilder.identity.http.codes import CodeRoutes
from guilder.identity.http.factor_reset import FactorResetRoutes
from guilder.identity.http.keys import KeyRoutes
from guilder.identity.http.oauth import OAuthRoutes
from guilder.identity.http.outside import OutsideRoutes
from guilder.identity.http.passkeys import PasskeyRoutes
from guilder.identity.http.passwords import PasswordRoutes
from guilder.identity.http.personal_data import PersonalDataRoutes
from guilder.identity.http.roles import RoleRoutes
from guilder.identity.http.second_factors import SecondFactorRoutes
from guilder.identity.http.sessions import SessionRoutes
from guilder.identity.http.sign_in import IdentityRoutes
from guilder.identity.http.staff import StaffRoutes
from guilder.identity.http.step_up import StepUpRoutes
from guilder.identity.http.verifications import VerificationRoutes
from guilder.identity.service.access import AccessTokens
from guilder.identity.service.appointments import Appointments
from guilder.identity.service.client_tokens import ClientTokens
from guilder.identity.service.clients import MachineClients
from guilder.identity.service.code_services import CodeServices, build_code_services
from guilder.identity.service.code_stores import CodeStore, DatabaseCodes
from guilder.identity.service.factor_clearing import FactorClearing, FactorResealing
from guilder.identity.service.factor_reset import FactorResetByOperator
from guilder.identity.service.factor_services import FactorServices, build_factors
from guilder.identity.service.freezes import Freezes
from guilder.identity.service.key_rotation import KeyRotation
from guilder.identity.service.lockout import Lockout
from guilder.identity.service.named_jobs import SEND_CODE, TELL_OF_GUESSES, NamedJobs
from guilder.identity.service.outside_sign_in import OutsideSignIn
from guilder.identity.service.passwords import PasswordCost, Passwords, hashes_at_once
from guilder.identity.service.people import People
from guilder.identity.service.personal_data import ErasePeople, LegalHolds, PersonalExport
from guilder.identity.service.personal_rotation import RotatePersonalKeys
from guilder.identity.service.profile import Profile
from guilder.identity.service.providers import read_providers
from guilder.identity.service.register import Registration
from guilder.identity.service.relying_party import RelyingParty
from guilder.identity.service.revocations import Revocations
from guilder.identity.service.roles import Roles
from guilder.identity.service.session_clearing import SessionClearing
from guilder.identity.service.sessions import Sessions
from guilder.identity.service.sign_in import SignIn
from guilder.identity.service.staff import StaffAppointments
from guilder.identity.service.verification_tokens import SpentInTransactions
from guilder.identity.service.verifications import Verifying
from guilder.identity.store.client_checks import CHECKS as CLIENT_CHECKS
from guilder.identity.store.person_keys import PersonalKeys
from guilder.identity.store.personal_checks import CHECKS as PERSONAL_CHECKS
from guilder.identity.store.role_checks import CHECKS as ROLE_CHECKS
from guilder.identity.store.session_checks import CHECKS as SESSION_CHECKS
from guilder.identity.store.users import UserStore
from guilder.platform.auth import AUDIENCE, ISSUER
from guilder.platform.db import Database
from guilder.platform.egress import Egress
from guilder.platform.envelopes import OuterKeys
from guilder.platform.erasures import ErasureList
from guilder.platform.http.paths import API_PREFIX
from guilder.platform.http.route import Route
from guilder.platform.jobs import Task
from guilder.platform.keys import KeyFolder, UnixTime
from guilder.platform.module import Job, Module
from guilder.platform.outward import CallLimits, OutwardHttp
from guilder.platform.standing import Standing

DEFAULT_REGION: Final = "IN"
ERASED_USERS: Final = "erased-users.jsonl"
"""The list of erased users, in the folder of published heads."""
PROVIDER_LIMITS: Final = CallLimits(connect_s=3, total_s=8)
LOCAL_ORIGIN: Final = "http://localhost:8000"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shared:
    """What several parts of identity are built from."""

    db: Database
    contacts: OuterKeys
    users: UserStore
    passwords: Passwords
    codes: CodeStore
    sessions: Sessions
    lockout: Lockout
    default_region: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Issuing:
    """In whose name tokens are given out, and with which keys."""

    keys: KeyFolder
    issuer: str
    audience: str
    base_url: str
    now: UnixTime

    def access_tokens(self) -> AccessTokens:
        return AccessTokens(
            keys=self.keys, issuer=self.issuer, audience=self.audience, now=self.now
        )

    def client_tokens(self, db: Database, *, standing: Standing | None) -> ClientTokens:
        return ClientTokens(
            db=db,
            keys=self.keys,
            standing=Standing(Revocations(db)) if standing is None else standing,
            issuer=self.issuer,
            audience=self.audience,
            now=self.now,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """What has routes as well as jobs, or is needed by several of those that have."""

    factors: FactorServices
    codes: CodeServices
    clients: ClientTokens
    outside: OutsideSignIn
    erasures: ErasePeople | None


def build(
    *,
    db: Database,
    keys: KeyFolder,
    contacts: OuterKeys,
    issuer: str = ISSUER,
    audience: str = AUDIENCE,
    default_region: str = DEFAULT_REGION,
    password_cost: PasswordCost | None = None,
    processes: int = 1,
    hashes_apart: bool = False,
    rotate_keys_after_s: float = 0,
    codes: CodeStore | None = None,
    passkey_origins: tuple[str, ...] = (),
    passkey_domain: str | None = None,
    standing: Standing | None = None,
    base_url: str = LOCAL_ORIGIN,
    erasing: ErasureTerms | None = None,
    providers: Mapping[str, Provider] = MappingProxyType({}),
    now: UnixTime = time.time,
) -> Module:
    """Identity, serving. ``default_region`` is where a phone without a country code is from.

    ``contacts`` encrypt people's names and addresses for those who have to reach them. Keys that
    sign are succeeded once they are ``rotate_keys_after_s`` old; 0 leaves it to a command.
    ``codes`` is where one-time codes are kept; the database when None. Passkeys are used from
    ``passkey_origins``, all of ``passkey_domain``. ``standing`` is what this process knows of
    what is revoked, ``base_url`` the address that others reach it at. ``processes`` share the
    processor and the memory that hashing passwords may have; ``hashes_apart`` gives it processes of
    its own. ``providers`` are whom else people may sign in with (`build_providers`).

    People are erased on the terms of ``erasing``; without any nobody is.
    """
    users = UserStore(keys=PersonalKeys(contacts))
    issuing = _Issuing(keys=keys, issuer=issuer, audience=audience, base_url=base_url, now=now)
    shared = _Shared(
        db=db,
        contacts=contacts,
        users=users,
        passwords=Passwords(
            cost=password_cost,
            at_once=hashes_at_once(processes=processes),
            apart=hashes_apart,
        ),
        codes=codes or DatabaseCodes(db),
        sessions=Sessions(db=db, users=users, tokens=issuing.access_tokens()),
        lockout=Lockout(db=db, keys=contacts),
        default_region=default_region,
    )
    factors = _factors(shared, site=_site(passkey_origins, passkey_domain))
    parts = _Parts(
        factors=factors,
        codes=_codes(shared, factors),
        clients=issuing.client_tokens(db, standing=standing),
        outside=_outside(shared, factors, providers=providers, base_url=base_url),
        erasures=_erasures(shared, terms=erasing),
    )
    return Module(
        name="identity",
        service_names=("identity", "auth", "rbac"),
        routes=_routes(shared, parts, issuing=issuing),
        jobs=(*_jobs(shared, parts), *_rotations(keys, after_s=rotate_keys_after_s)),
        checks=(*SESSION_CHECKS, *ROLE_CHECKS, *PERSONAL_CHECKS, *CLIENT_CHECKS),
        on_start=(PersonalKeys(contacts).ensure,),
        tasks=(
            Task(name=SEND_CODE, perform=parts.codes.sending.send),
            Task(name=TELL_OF_GUESSES, perform=parts.codes.alarms.tell),
        ),
        on_stop=(shared.passwords.close, shared.codes.close),
    )


def _routes(shared: _Shared, parts: _Parts, *, issuing: _Issuing) -> tuple[Route, ...]:
    base_url = issuing.base_url
    clients = MachineClients(db=shared.db, step_up=parts.factors.step_up)
    oauth = OAuthRoutes(parts.clients, issuer=issuing.issuer, base_url=base_url)
    outside = OutsideRoutes(parts.outside, is_https=base_url.startswith("https:"))
    return (
        *_sign_in_routes(shared, parts.factors),
        *KeyRoutes(issuing.keys).routes(),
        *_staff_routes(shared),
        *_code_routes(parts.codes),
        *_personal_data_routes(shared, parts.erasures),
        *_factor_routes(parts.factors),
        *ClientRoutes(clients).routes(),
        *oauth.routes(),
        *outside.routes(),
    )


def _jobs(shared: _Shared, parts: _Parts) -> tuple[Job, ...]:
    db, keys = shared.db, shared.contacts
    erasures = parts.erasures
    return (
        jobs.forget_revocations(Revocations(db)),
        jobs.clear_sessions(SessionClearing(db=db, lockout=shared.lockout)),
        jobs.clear_codes(parts.codes),
        jobs.forget_wishes(parts.codes),
        jobs.clear_factors(FactorClearing(db)),
        jobs.clear_outside_sign_ins(parts.outside),
        jobs.reseal_factors(FactorResealing(db=db, keys=keys)),
        *(() if erasures is None else (jobs.keep_erased(erasures),)),
        jobs.seal_personal_data(RotatePersonalKeys(db, keys=PersonalKeys(keys))),
    )


def _outside(
    shared: _Shared,
    factors: FactorServices,
    *,
    providers: Mapping[str, Provider],
    base_url: str,
) -> OutsideSignIn:
    return OutsideSignIn(
        db=shared.db,
        users=shared.users,
        keys=shared.contacts,
        sessions=shared.sessions,
        factors=factors.sign_in,
        step_up=factors.step_up,
        providers=providers,
        redirects=f"{base_url}{API_PREFIX}/auth/oauth",
    )


def _erasures(shared: _Shared, *, terms: ErasureTerms | None) -> ErasePeople | None:
    if terms is None:
        return None
    return ErasePeople(
        db=shared.db,
        users=shared.users,
        sessions=shared.sessions,
        jobs=NamedJobs(shared.contacts),
        terms=terms,
    )


def _factors(shared: _Shared, *, site: RelyingParty) -> FactorServices:
    return build_factors(
        db=shared.db,
        users=shared.users,
        sessions=shared.sessions,
        passwords=shared.passwords,
        keys=shared.contacts,
        site=site,
    )


def _codes(shared: _Shared, factors: FactorServices) -> CodeServices:
    return build_code_services(
        db=shared.db,
        users=shared.users,
        passwords=shared.passwords,
        sessions=shared.sessions,
        lockout=shared.lockout,
        factors=factors.sign_in,
        keys=shared.contacts,
        codes=shared.codes,
        default_region=shared.default_region,
    )


def _code_routes(codes: CodeServices) -> tuple[Route, ...]:
    passwords = PasswordRoutes(change=codes.change, sending=codes.sending, recovery=codes.recovery)
    return (
        *VerificationRoutes(codes.verifying).routes(),
        *CodeRoutes(sending=codes.sending, sign_in=codes.sign_in, checks=codes.checks).routes(),
        *passwords.routes(),
    )


def _sign_in_routes(shared: _Shared, factors: FactorServices) -> tuple[Route, ...]:
    registration = Registration(
        db=shared.db,
        users=shared.users,
        passwords=shared.passwords,
        contacts=shared.contacts,
        default_region=shared.default_region,
    )
    sign_in = SignIn(
        db=shared.db,
        users=shared.users,
        passwords=shared.passwords,
        sessions=shared.sessions,
        lockout=shared.lockout,
        factors=factors.sign_in,
        default_region=shared.default_region,
    )
    profile = Profile(db=shared.db, users=shared.users, contacts=shared.contacts)
    return (
        *IdentityRoutes(registration=registration, sign_in=sign_in, profile=profile).routes(),
        *SessionRoutes(shared.sessions).routes(),
    )


def _staff_routes(shared: _Shared) -> tuple[Route, ...]:
    appointments = Appointments(db=shared.db, users=shared.users)
    people = People(db=shared.db, users=shared.users, default_region=shared.default_region)
    freezes = Freezes(db=shared.db, sessions=shared.sessions)
    return (
        *RoleRoutes(Roles(shared.db)).routes(),
        *AppointmentRoutes(appointments).routes(),
        *StaffRoutes(people=people, freezes=freezes, appointments=appointments).routes(),
    )


def _personal_data_routes(shared: _Shared, erasures: ErasePeople | None) -> tuple[Route, ...]:
    export = PersonalExport(db=shared.db, users=shared.users, sessions=shared.sessions)
    holds = LegalHolds(shared.db)
    return PersonalDataRoutes(export=export, holds=holds, erasures=erasures).routes()


def _site(origins: tuple[str, ...], domain: str | None) -> RelyingParty:
    origins = origins or (LOCAL_ORIGIN,)
    return RelyingParty(domain=domain or urlsplit(origins[0]).hostname or "", origins=origins)


def _factor_routes(factors: FactorServices) -> tuple[Route, ...]:
    return (
        *SecondFactorRoutes(sign_in=factors.sign_in, enrollment=factors.enrollment).routes(),
        *StepUpRoutes(step_up=factors.step_up).routes(),
        *PasskeyRoutes(passkeys=factors.passkeys).routes(),
        *FactorResetRoutes(factors.reset).routes(),
    )


def _rotations(keys: KeyFolder, *, after_s: float) -> tuple[Job, ...]:
    return (jobs.rotate_keys(KeyRotation(keys, after_s=after_s)),) if after_s else ()


def build_providers(
    file: Path | None, *, egress: Egress, limits: CallLimits | None = None
) -> Mapping[str, Provider]:
    """The providers that the operator's file names.

    Raises:
        ProvidersUnusable: it is missing, or not as it must be.
    """
    return read_providers(file, http=OutwardHttp(egress, limits=limits or PROVIDER_LIMITS))


def build_codes(*, db: Database, redis_url: str | None) -> CodeStore:
    """Where one-time codes are kept: in the database, or in Redis (the extra redis)."""
    if redis_url is None:
        return DatabaseCodes(db)
    store: CodeStore = import_module("guilder.identity.service.redis_codes").RedisCodes(redis_url)
    return store


def build_verifications(
    *, db: Database, contacts: OuterKeys, codes: CodeStore | None = None
) -> Verifications:
    """Begins verifications, for contexts whose operations need them."""
    return Verifying(db=db, keys=contacts, codes=codes or DatabaseCodes(db))


def build_verification_tokens() -> VerificationTokens:
    """Spends the tokens of verifications, in transactions on the same database."""
    return SpentInTransactions()


def build_revocations(db: Database) -> Revocations:
    """What `guilder.platform.standing` is fed from, in every process that verifies tokens."""
    return Revocations(db)


def build_personal_rotation(*, db: Database, contacts: OuterKeys) -> RotatePersonalKeys:
    """Changes the keys of personal data, for the command line."""
    return RotatePersonalKeys(db, keys=PersonalKeys(contacts))


def erasure_terms(*, estates: Estates, retention: timedelta, folder: Path) -> ErasureTerms:
    """On which terms people are erased; who was is listed in ``folder``."""
    listed = ErasureList(folder, name=ERASED_USERS)
    return ErasureTerms(estates=estates, retention=retention, listed=listed)


def build_erasures(
    *, db: Database, keys: KeyFolder, contacts: OuterKeys, terms: ErasureTerms
) -> Erasures:
    """Erases people, for the command line."""
    sessions, users = _sessions(db, keys=keys, contacts=contacts)
    return ErasePeople(db=db, users=users, sessions=sessions, jobs=NamedJobs(contacts), terms=terms)


def build_factor_resets(*, db: Database, keys: KeyFolder, contacts: OuterKeys) -> FactorResets:
    """Helps whoever has lost their second factors, for the command line."""
    sessions, users = _sessions(db, keys=keys, contacts=contacts)
    return FactorResetByOperator(db=db, users=users, sessions=sessions)


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
    *, db: Database, keys: KeyFolder, contacts: OuterKeys, default_region: str = DEFAULT_REGION
) -> Staff:
    """Appoints staff, for the command line."""
    sessions, users = _sessions(db, keys=keys, contacts=contacts)
    return StaffAppointments(
        db=db,
        users=users,
        passwords=Passwords(at_once=1),
        sessions=sessions,
        contacts=contacts,
        default_region=default_region,
    )


def _sessions(db: Database, *, keys: KeyFolder, contacts: OuterKeys) -> tuple[Sessions, UserStore]:
    """What ends sessions, for the command line, which begins none."""
    tokens = AccessTokens(keys=keys, issuer=ISSUER, audience=AUDIENCE, now=time.time)
    users = UserStore(keys=PersonalKeys(contacts))
    return Sessions(db=db, users=users, tokens=tokens), users
