"""Puts the contexts together: which there are, what each is built from, one application of all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from httpx2 import AsyncClient
from prometheus_client import CollectorRegistry
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from pydantic import SecretStr

from guilder.apps import housekeeping
from guilder.apps.passphrases import key_passphrase, keys_dir
from guilder.apps.readiness import Readiness
from guilder.audit import module as audit
from guilder.gateway import module as gateway
from guilder.gateway.module import GatewaySettings
from guilder.identity import module as identity
from guilder.identity.api.personal_data import ErasureTerms
from guilder.ledger import module as ledger
from guilder.notifications import module as notifications
from guilder.payments import module as payments
from guilder.platform import failpoints
from guilder.platform.auth import ISSUER, TokenVerifier
from guilder.platform.db import Database
from guilder.platform.egress import Egress, EgressRules, SystemResolver
from guilder.platform.envelopes import OuterKeys
from guilder.platform.http.asgi import HttpApp
from guilder.platform.identity_settings import OtpStore
from guilder.platform.keys import JWKS_PATH, KeyFolder, VerificationKeys
from guilder.platform.module import Module
from guilder.platform.outward import CallLimits
from guilder.platform.remote_keys import RemoteKeys
from guilder.platform.settings import Settings
from guilder.platform.sink import Sink
from guilder.platform.standing import Standing
from guilder.platform.startup import CannotStart
from guilder.wallets import module as wallets
from guilder.webhooks import module as webhooks

_IDENTITY: Final = "identity"
_DAY_S: Final = 86_400


class UnknownContext(CannotStart):
    """A context was asked for by a name that none has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """Every context, wired to one database. ``here`` are those that this process runs."""

    settings: Settings
    db: Database
    keys: KeyFolder
    outer: OuterKeys
    registry: CollectorRegistry
    standing: Standing
    modules: tuple[Module, ...]
    here: tuple[Module, ...]

    @property
    def is_whole(self) -> bool:
        """Whether this process is the public entrance, not a context that stands behind one."""
        return len(self.here) == len(self.modules) - len(self.settings.service_urls)


def every_failpoint() -> Mapping[str, str]:
    """Name and meaning of each failpoint of everything that is put together here."""
    return failpoints.declared()


def key_folder(settings: Settings) -> KeyFolder:
    """Where the keys are that sign access tokens."""
    return KeyFolder(keys_dir(settings), passphrase=key_passphrase(settings))


def outer_keys(settings: Settings) -> OuterKeys:
    """The keys that encrypt what the database must not show."""
    return OuterKeys(keys_dir(settings), passphrase=key_passphrase(settings))


def erasure_terms(settings: Settings, *, db: Database) -> ErasureTerms:
    """On which terms people are erased."""
    return identity.erasure_terms(
        estates=wallets.build_service(
            db=db, ledger=ledger.build_ledger(), time_zone=settings.time_zone
        ),
        retention=timedelta(days=settings.personal_retention_days),
        folder=settings.heads_dir,
    )


def prepare_keys(settings: Settings) -> None:
    """See that there are keys to sign and to encrypt with, where identity runs here."""
    if _IDENTITY not in settings.service_urls:
        key_folder(settings).ensure()
        outer_keys(settings).ensure()


def verification_keys(house: House) -> VerificationKeys:
    """What access tokens are verified with: this folder's keys, or those identity publishes."""
    elsewhere = house.settings.service_urls.get(_IDENTITY)
    if elsewhere is None:
        return house.keys
    return RemoteKeys(f"{elsewhere}{JWKS_PATH}", client=AsyncClient())


def issuer(settings: Settings) -> str:
    """Whom access tokens say they are from."""
    return settings.public_url or ISSUER


def build_house(
    settings: Settings,
    *,
    db: Database,
    payments_db: Database | None = None,
    registry: CollectorRegistry | None = None,
    only: Sequence[str] = (),
) -> House:
    """Wire every context; run those named in ``only``, or all that no URL places elsewhere.

    Metrics are kept in ``registry``, the process's own among them. Payments are made on
    ``payments_db``, where one is given.

    Raises:
        UnknownContext: there is no context of a name that was given.
    """
    keys, outer = key_folder(settings), outer_keys(settings)
    registry = CollectorRegistry() if registry is None else registry
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    standing = Standing(identity.build_revocations(db))
    modules = _modules(
        settings,
        db=db,
        payments_db=payments_db or db,
        keys=keys,
        outer=outer,
        registry=registry,
        standing=standing,
    )
    names = {module.name for module in modules}
    unknown = sorted((set(only) | set(settings.service_urls)) - names)
    if unknown:
        raise UnknownContext(
            f"there is no context {', '.join(unknown)}; there are {', '.join(sorted(names))}"
        )
    wanted = set(only) or names - set(settings.service_urls)
    here = tuple(module for module in modules if module.name in wanted)
    return House(
        settings=settings,
        db=db,
        keys=keys,
        outer=outer,
        registry=registry,
        standing=standing,
        modules=modules,
        here=here,
    )


def _modules(
    settings: Settings,
    *,
    db: Database,
    payments_db: Database,
    keys: KeyFolder,
    outer: OuterKeys,
    registry: CollectorRegistry,
    standing: Standing,
) -> tuple[Module, ...]:
    books = ledger.build_ledger()
    codes = identity.build_codes(db=db, redis_url=_codes_url(settings))
    funding = payments.simulated_funding if settings.funds_simulated else payments.no_funding
    return (
        identity.build(
            db=db,
            keys=keys,
            contacts=outer,
            default_region=settings.default_region,
            processes=settings.workers,
            hashes_apart=True,
            rotate_keys_after_s=settings.key_rotation_days * _DAY_S,
            passkey_origins=settings.passkey_origins or (_local_origin(settings),),
            passkey_domain=settings.passkey_domain,
            codes=codes,
            erasing=erasure_terms(settings, db=db),
            issuer=issuer(settings),
            standing=standing,
            base_url=settings.base_url,
            providers=identity.build_providers(
                settings.sign_in_providers, egress=_egress(settings)
            ),
        ),
        ledger.build(
            db=db,
            ledger=books,
            registry=registry,
            reserved_codes=wallets.RESERVED_CODES,
            reserved_kinds=payments.RESERVED_KINDS,
        ),
        wallets.build(
            db=db,
            ledger=books,
            time_zone=settings.time_zone,
            most_wallets=settings.wallets_per_user,
        ),
        payments.build(
            db=db,
            engine_db=payments_db,
            ledger=books,
            wallets=wallets.in_money_core(),
            funding=funding,
            verifications=identity.build_verifications(db=db, contacts=outer, codes=codes),
            tokens=identity.build_verification_tokens(),
            high_value_transfers=settings.high_value_transfers,
        ),
        housekeeping.build(settings, db=db),
        audit.build(
            db=db,
            ledger=ledger.build_heads(),
            folders=audit_folders(settings),
            registry=registry,
            publish_every_s=settings.audit_publish_every_s,
        ),
        _webhooks(settings, db=db, keys=outer, registry=registry),
        _notifications(settings, db=db, keys=outer, registry=registry),
    )


def _codes_url(settings: Settings) -> str | None:
    url = settings.redis_url
    if url is None or settings.otp_store is not OtpStore.REDIS:
        return None
    return url.get_secret_value()


def _local_origin(settings: Settings) -> str:
    """Where passkeys are used when nothing else is said: a browser takes no address for a name."""
    return settings.public_url or f"http://localhost:{settings.port}"


def _egress(settings: Settings) -> Egress:
    rules = EgressRules(
        https_only=settings.is_production,
        ports=settings.egress_ports,
        allow=settings.egress_allow,
    )
    return Egress(rules, resolver=SystemResolver())


def _webhooks(
    settings: Settings, *, db: Database, keys: OuterKeys, registry: CollectorRegistry
) -> Module:
    return webhooks.build(
        db=db,
        keys=keys,
        egress=_egress(settings),
        registry=registry,
        plan=webhooks.Plan(
            waits_s=settings.webhook_retry_s,
            patience=timedelta(seconds=settings.webhook_disable_after_s),
        ),
        limits=CallLimits(
            connect_s=min(5.0, settings.webhook_timeout_s), total_s=settings.webhook_timeout_s
        ),
    )


def _notifications(
    settings: Settings, *, db: Database, keys: OuterKeys, registry: CollectorRegistry
) -> Module:
    def secret(value: SecretStr | None) -> str | None:
        simulated = None if settings.is_production else notifications.SIMULATED
        return simulated if value is None else value.get_secret_value()

    sink = settings.sink_file
    return notifications.build(
        db=db,
        keys=keys,
        senders=notifications.senders(
            db=db,
            smtp_url=secret(settings.smtp_url),
            mail_from=settings.mail_from,
            sms_url=secret(settings.sms_url),
            sms_from=settings.sms_from,
            push_url=secret(settings.push_url),
            push_credentials=settings.push_credentials,
            sink=None if sink is None else Sink(sink),
        ),
        region=settings.default_region,
        time_zone=settings.time_zone,
        shows_outbox=not settings.is_production,
        lease_s=settings.notification_lease_s,
        kept_for=timedelta(days=settings.notification_retention_days),
        registry=registry,
    )


def audit_folders(settings: Settings) -> audit.Folders:
    """Where audit keeps what the database must not."""
    return audit.Folders(
        keys=keys_dir(settings),
        heads=settings.heads_dir,
        copy_url=settings.audit_heads_s3,
        passphrase=key_passphrase(settings),
    )


def http_app(house: House) -> HttpApp:
    """The application that answers: the gateway before everything, or some contexts alone."""
    registry = house.registry
    build = gateway.build if house.is_whole else gateway.build_service
    denials = audit.build_denials(
        db=house.db,
        folders=audit_folders(house.settings),
        registry=registry,
        per_second=house.settings.audit_denials_per_second,
    )
    standing = house.standing

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        await house.keys.learn()
        async with standing.running(), denials.running():
            yield

    return build(
        modules=house.modules if house.is_whole else house.here,
        verifier=TokenVerifier(
            verification_keys(house), standing=standing, issuer=issuer(house.settings)
        ),
        readiness=Readiness(
            house.db,
            keys=(house.keys, house.outer),
            accept_no_checksums=house.settings.accept_no_checksums,
        ),
        registry=registry,
        settings=gateway_settings(house.settings),
        lifespan=lifespan,
        denials=denials,
    )


def gateway_settings(settings: Settings) -> GatewaySettings:
    """What the gateway is told of the settings."""
    redis, token = settings.redis_url, settings.metrics_token
    return GatewaySettings(
        allowed_hosts=settings.hosts,
        allowed_origins=settings.cors_origins,
        trusted_proxies=settings.trusted_proxies,
        rate_limit=settings.rate_limit,
        redis_url=redis.get_secret_value() if redis else None,
        metrics_token=token.get_secret_value() if token else None,
        upstreams=settings.service_urls,
    )


@asynccontextmanager
async def running(modules: Iterable[Module]) -> AsyncIterator[None]:
    """Start ``modules`` in order; stop them in the opposite order when the block ends."""
    started: list[Module] = []
    try:
        for module in modules:
            started.append(module)
            for start in module.on_start:
                await start()
        yield
    finally:
        for module in reversed(started):
            for stop in module.on_stop:
                await stop()
