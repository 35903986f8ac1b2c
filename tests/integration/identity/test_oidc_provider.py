"""Providers that lie, break or change: nobody is recognised by what does not hold."""

from __future__ import annotations

import hmac
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from joserfc.jwk import ECKey, RSAKey

from guilder.identity.api.outside import (
    Ask,
    OutsidePerson,
    OutsideSignInFailed,
    SignInProviderUnavailable,
)
from guilder.identity.domain.outside import asked
from guilder.identity.service.github_provider import GitHubProvider
from guilder.identity.service.oidc_provider import OidcProvider, Registered
from guilder.identity.service.provider_calls import ProviderCalls
from guilder.identity.service.providers import ProvidersUnusable, read_providers
from guilder.platform.egress import Egress, EgressRules, SystemResolver
from guilder.platform.outward import CallLimits, OutwardHttp
from tests.support.stranger import CLIENT_ID, CLIENT_SECRET, Claims, Person, Stranger, a_stranger

US = Registered(client_id=CLIENT_ID, client_secret=CLIENT_SECRET)
STATE, SECRET = "s" * 43, "b" * 43
ASK = asked(state=STATE, browser_secret=SECRET, redirect_uri="http://us/callback")


@dataclass
class Clock:
    """A clock that is set by hand."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def outward(*, allow: str = "127.0.0.1:*") -> OutwardHttp:
    rules = EgressRules(https_only=False, allow=[allow] if allow else [])
    limits = CallLimits(connect_s=10, total_s=20)
    return OutwardHttp(Egress(rules, resolver=SystemResolver()), limits=limits)


def provider_at(stranger: Stranger, *, clock: Clock | None = None) -> OidcProvider:
    calls = ProviderCalls(outward(), name="stranger")
    return OidcProvider(issuer=stranger.url, registered=US, calls=calls, clock=clock or Clock())


@pytest.fixture
async def stranger() -> AsyncIterator[Stranger]:
    async with a_stranger() as found:
        found.person = Person("42", email="anna@example.com")
        yield found


@pytest.fixture
def provider(stranger: Stranger) -> OidcProvider:
    return provider_at(stranger)


async def code_from(url: str) -> str:
    async with httpx2.AsyncClient(trust_env=False, timeout=60) as http:
        answer = await http.get(url)
    return parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]


async def recognised(
    provider: OidcProvider | GitHubProvider, *, ask: Ask = ASK, issuer: str | None = None
) -> OutsidePerson:
    code = await code_from(await provider.authorization_url(ASK))
    return await provider.person(ask, code=code, issuer=issuer)


async def test_a_person_is_recognised_by_a_genuine_token(
    stranger: Stranger, provider: OidcProvider
) -> None:
    found = await recognised(provider)

    assert found == OutsidePerson(
        issuer=stranger.url, subject="42", verified_email="anna@example.com"
    )


async def test_elliptic_keys_are_as_good(stranger: Stranger, provider: OidcProvider) -> None:
    stranger.key = ECKey.generate_key("P-256", {"kid": "curve"})
    stranger.algorithm = "ES256"

    assert (await recognised(provider)).subject == "42"


async def test_a_client_authenticates_in_the_form_where_nothing_else_is_taken(
    stranger: Stranger, provider: OidcProvider
) -> None:
    stranger.document = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}

    assert (await recognised(provider)).subject == "42"


SPOILED: dict[str, Callable[[Claims], Claims]] = {
    "another issuer": lambda claims: {**claims, "iss": "https://accounts.google.com"},
    "another audience": lambda claims: {**claims, "aud": "somebody-else"},
    "several audiences without a party": lambda claims: {**claims, "aud": [CLIENT_ID, "b"]},
    "another party": lambda claims: {**claims, "azp": "somebody-else"},
    "expired": lambda claims: {**claims, "exp": int(time.time()) - 600},
    "from the future": lambda claims: {**claims, "iat": int(time.time()) + 600},
    "another nonce": lambda claims: {**claims, "nonce": "another"},
    "no nonce": lambda claims: {**claims, "nonce": None},
    "no subject": lambda claims: {**claims, "sub": ""},
    "a number for a subject": lambda claims: {**claims, "sub": 42},
    "no end": lambda claims: {name: value for name, value in claims.items() if name != "exp"},
    "an end in words": lambda claims: {**claims, "exp": "tomorrow"},
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
async def test_a_token_that_says_something_else_recognises_nobody(
    stranger: Stranger, provider: OidcProvider, spoil: Callable[[Claims], Claims]
) -> None:
    stranger.spoil = spoil

    with pytest.raises(OutsideSignInFailed):
        await recognised(provider)


def encoded(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return urlsafe_b64encode(raw).decode().rstrip("=")


def unsigned(claims: Claims) -> str:
    return f"{encoded({'alg': 'none', 'kid': 'one'})}.{encoded(claims)}."


async def test_a_token_without_a_signature_recognises_nobody(
    stranger: Stranger, provider: OidcProvider
) -> None:
    stranger.sign = unsigned

    with pytest.raises(OutsideSignInFailed):
        await recognised(provider)


async def test_a_public_key_is_no_shared_secret(stranger: Stranger, provider: OidcProvider) -> None:
    def signed_with_the_public_key(claims: Claims) -> str:
        text = f"{encoded({'alg': 'HS256', 'kid': 'one'})}.{encoded(claims)}"
        mac = hmac.digest(stranger.key.as_pem(private=False), text.encode(), "sha256")
        return f"{text}.{encoded(mac)}"

    stranger.sign = signed_with_the_public_key

    with pytest.raises(OutsideSignInFailed):
        await recognised(provider)


@pytest.mark.filterwarnings("ignore:Key size should be")
async def test_a_key_that_is_too_short_to_be_trusted_recognises_nobody(
    stranger: Stranger, provider: OidcProvider
) -> None:
    stranger.key = RSAKey.generate_key(1024, {"kid": "one"})

    with pytest.raises(OutsideSignInFailed):
        await recognised(provider)


async def test_a_token_by_another_key_of_the_same_name_recognises_nobody(
    stranger: Stranger, provider: OidcProvider
) -> None:
    forger = Stranger(port=stranger.port, key=RSAKey.generate_key(2048, {"kid": "one"}))
    stranger.sign = forger.signed

    with pytest.raises(OutsideSignInFailed):
        await recognised(provider)


@pytest.mark.parametrize(
    "token", ["", "a.b", "a.b.c", "ä.b.c", "x" * 20_000, f"{encoded([])}.e30.x"], ids=repr
)
async def test_what_is_no_token_recognises_nobody(
    stranger: Stranger, provider: OidcProvider, token: str
) -> None:
    stranger.sign = lambda _: token

    with pytest.raises(OutsideSignInFailed):
        await recognised(provider)


async def test_a_code_is_of_no_use_without_its_verifier(provider: OidcProvider) -> None:
    another = replace(ASK, verifier="v" * 43)

    with pytest.raises(OutsideSignInFailed):
        await recognised(provider, ask=another)


async def test_a_code_that_another_issuer_sent_is_not_shown(
    stranger: Stranger, provider: OidcProvider
) -> None:
    asked_before = stranger.times_asked("/token")

    with pytest.raises(OutsideSignInFailed):
        await recognised(provider, issuer="https://evil.example")

    assert stranger.times_asked("/token") == asked_before
    assert (await recognised(provider, issuer=stranger.url)).subject == "42"


async def test_an_issuer_that_says_who_it_is_has_to(
    stranger: Stranger, provider: OidcProvider
) -> None:
    stranger.document = {"authorization_response_iss_parameter_supported": True}

    with pytest.raises(OutsideSignInFailed):
        await recognised(provider)


async def test_a_new_key_is_learnt_and_unknown_ones_are_looked_for_seldom(
    stranger: Stranger,
) -> None:
    clock = Clock()
    provider = provider_at(stranger, clock=clock)
    await recognised(provider)
    stranger.key = RSAKey.generate_key(2048, {"kid": "two"})

    for _ in range(3):
        with pytest.raises(OutsideSignInFailed):
            await recognised(provider)
    asked_meanwhile = stranger.times_asked("/keys")
    clock.now += 31

    assert asked_meanwhile == 1
    assert (await recognised(provider)).subject == "42"
    assert stranger.times_asked("/keys") == 2
    assert stranger.times_asked("/.well-known/openid-configuration") == 1


async def test_keys_that_we_do_not_know_are_left_aside(
    stranger: Stranger, provider: OidcProvider
) -> None:
    stranger.more_keys = [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "a"},
        {"kty": "RSA", "n": "!", "e": "AQAB", "kid": "b"},
        {"kty": "RSA", "use": "enc", "kid": "c"},
        {"kty": "new", "kid": "d"},
        {"kty": ["RSA"], "kid": "e"},
        {"kty": {"RSA": 1}, "use": ["sig"], "kid": "f"},
        {},
    ]

    assert (await recognised(provider)).subject == "42"


DOCUMENTS: dict[str, Claims] = {
    "another issuer": {"issuer": "https://accounts.google.com"},
    "no token endpoint": {"token_endpoint": None},
    "keys in a file": {"jwks_uri": "file:///etc/passwd"},
    "a script for an endpoint": {"authorization_endpoint": "javascript:alert(1)"},
    "an endpoint of two lines": {"authorization_endpoint": "http://id\r\nSet-Cookie: a=b"},
    "half an address": {"token_endpoint": "file://[::1"},
    "an endpoint in other letters": {"authorization_endpoint": "http://\u0456d.example"},
}


@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS)
async def test_a_discovery_document_that_does_not_hold_is_none(
    stranger: Stranger, provider: OidcProvider, document: Claims
) -> None:
    stranger.document = document

    with pytest.raises(SignInProviderUnavailable):
        await provider.authorization_url(ASK)


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/keys", "/token"])
@pytest.mark.parametrize(
    "answer",
    [(500, b""), (302, b""), (200, b"<html>"), (200, b"[]"), (200, b'{"keys": 1}')],
    ids=repr,
)
async def test_a_broken_provider_is_unavailable(
    stranger: Stranger, provider: OidcProvider, path: str, answer: tuple[int, bytes]
) -> None:
    stranger.answers[path] = answer

    with pytest.raises(SignInProviderUnavailable):
        await recognised(provider)


async def test_an_answer_without_end_is_cut(stranger: Stranger, provider: OidcProvider) -> None:
    stranger.answers["/keys"] = (200, b'{"keys": [' + b" " * 100_000 + b"]}")

    with pytest.raises(SignInProviderUnavailable):
        await recognised(provider)


async def test_a_provider_at_a_private_address_is_not_called(stranger: Stranger) -> None:
    calls = ProviderCalls(outward(allow=""), name="stranger")
    provider = OidcProvider(issuer=stranger.url, registered=US, calls=calls)

    with pytest.raises(SignInProviderUnavailable):
        await provider.authorization_url(ASK)

    assert stranger.asked == []


async def test_github_recognises_by_its_number_and_its_primary_email(stranger: Stranger) -> None:
    calls = ProviderCalls(outward(), name="github")
    github = GitHubProvider(site=stranger.url, registered=US, calls=calls)

    found = await recognised(github)

    assert found == OutsidePerson(
        issuer=stranger.url, subject="42", verified_email="anna@example.com"
    )


@pytest.mark.parametrize(
    ("path", "answer", "refusal"),
    [
        ("/login/oauth/access_token", (200, b'{"error": "bad"}'), OutsideSignInFailed),
        ("/login/oauth/access_token", (200, b'{"access_token": "a\\r\\nb"}'), OutsideSignInFailed),
        ("/login/oauth/access_token", (500, b""), SignInProviderUnavailable),
        ("/api/v3/user", (401, b""), SignInProviderUnavailable),
        ("/api/v3/user", (200, b'{"id": "x"}'), SignInProviderUnavailable),
        ("/api/v3/user/emails", (200, b"{}"), SignInProviderUnavailable),
    ],
    ids=str,
)
async def test_a_github_that_does_not_say_who_it_is_recognises_nobody(
    stranger: Stranger, path: str, answer: tuple[int, bytes], refusal: type[Exception]
) -> None:
    calls = ProviderCalls(outward(), name="github")
    github = GitHubProvider(site=stranger.url, registered=US, calls=calls)
    stranger.answers[path] = answer

    with pytest.raises(refusal):
        await recognised(github)


@pytest.mark.parametrize("path", ["", "/login/oauth"])
async def test_github_may_say_that_it_is_who_sent_the_code(stranger: Stranger, path: str) -> None:
    calls = ProviderCalls(outward(), name="github")
    github = GitHubProvider(site=stranger.url, registered=US, calls=calls)

    assert (await recognised(github, issuer=f"{stranger.url}{path}")).subject == "42"
    for other in ("https://github.com.evil.example", f"{stranger.url}.evil", "http://[", ""):
        with pytest.raises(OutsideSignInFailed):
            await recognised(github, issuer=other)


def test_the_file_of_providers_names_them(tmp_path: Path) -> None:
    file = tmp_path / "providers.json"
    known = {"client_id": "a", "client_secret": "b"}
    file.write_text(
        json.dumps(
            {"google": known, "github": known, "acme": {**known, "issuer": "https://id.example"}}
        )
    )

    found = read_providers(file, http=outward())

    assert set(found) == {"google", "github", "acme"}
    assert isinstance(found["github"], GitHubProvider)
    assert read_providers(None, http=outward()) == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"acme": {"client_id": "a", "client_secret": "hush"}}',
        '{"Google": {"client_id": "a", "client_secret": "hush"}}',
        '{"google": {"client_id": "a"}}',
        '{"google": {"client_id": "a", "client_secret": "hush", "colour": "red"}}',
        '{"google": {"client_id": "", "client_secret": "hush"}}',
        '{"google": {"client_id": "a", "client_secret": "hush", "issuer": "ftp://x"}}',
    ],
)
def test_a_file_that_is_not_as_it_must_be_is_told_without_its_secrets(
    tmp_path: Path, text: str
) -> None:
    file = tmp_path / "providers.json"
    file.write_text(text)

    with pytest.raises(ProvidersUnusable) as told:
        read_providers(file, http=outward())

    assert str(file) in str(told.value)
    assert "hush" not in str(told.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ProvidersUnusable, match="cannot be read"):
        read_providers(tmp_path / "none.json", http=outward())
