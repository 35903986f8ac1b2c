"""Sign-in with outside providers: what they say of a person, and how it is refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from guilder.kernel.errors import Conflict, Family, NotFound, NotPermitted, Refusal, Unauthenticated


class ProviderNotFound(NotFound):
    """Nobody signs in with a provider of this name here."""

    message = "There is no such sign-in provider."


class LinkNotFound(NotFound):
    """The user has not linked this provider."""

    message = "This provider is not linked."


class OutsideSignInFailed(Unauthenticated):
    """It was not begun in this browser, is over, or what the provider said does not hold.

    One code with every other failed sign-in: begin again.
    """

    message = "The sign-in with the provider failed; begin again."


class NotLinked(NotPermitted):
    """The provider knows the person, and nobody here is linked to them.

    It is answered, too, when somebody has the same email and one of the two sides has not
    verified it: whoever it is signs in as usual, and links the provider then.
    """

    code = "NOT_LINKED"
    message = "Nobody here is linked to this; sign in as usual and link it, or register."


class AlreadyLinked(Conflict):
    """Another user is linked to this person of the provider, or the user to another person."""

    code = "ALREADY_LINKED"
    message = "This is linked already."


class SignInProviderUnavailable(Refusal):
    """The provider cannot be reached, or answers with what cannot be understood."""

    code = "SIGN_IN_PROVIDER_UNAVAILABLE"
    family = Family.UNAVAILABLE
    message = "The sign-in provider is not available; try again shortly."


@dataclass(frozen=True, slots=True, kw_only=True)
class OutsidePerson:
    """Whom a provider has recognised. ``verified_email`` is one that it says it has verified."""

    issuer: str
    subject: str = field(repr=False)
    verified_email: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a provider is asked with: the same when the browser leaves and when it is back."""

    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)
    redirect_uri: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Departure:
    """Where the browser goes, and the secret that it comes back with."""

    url: str = field(repr=False)
    state: str = field(repr=False)
    browser_secret: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Return:
    """What a browser has come back with."""

    state: str = field(repr=False)
    browser_secret: str | None = field(repr=False)
    code: str | None = field(repr=False)
    issuer: str | None
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkView:
    """A provider that a user signs in with. ``linked_by`` is user or email."""

    provider: str
    linked_by: str
    linked_at: datetime
    last_used_at: datetime | None


class Provider(Protocol):
    """Somebody else who recognises people."""

    async def authorization_url(self, ask: Ask) -> str:
        """Where the browser goes to be recognised.

        Raises:
            SignInProviderUnavailable: the provider does not say where.
        """
        ...

    async def person(self, ask: Ask, *, code: str, issuer: str | None) -> OutsidePerson:
        """Whom the provider gave ``code`` for; ``issuer`` is who the browser says sent it.

        Raises:
            OutsideSignInFailed: nobody, or not for this ask.
            SignInProviderUnavailable: the provider cannot say.
        """
        ...
