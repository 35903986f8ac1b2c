"""Routes of sign-in with outside providers, for browsers: away, back, and what is linked."""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from typing import Final

import msgspec

from guilder.identity.api import InvalidCredentials
from guilder.identity.api.outside import (
    AlreadyLinked,
    Departure,
    LinkNotFound,
    NotLinked,
    OutsideSignInFailed,
    ProviderNotFound,
    Return,
    SignInProviderUnavailable,
)
from guilder.identity.api.second_factors import Asker, Challenge, StepUpRequired
from guilder.identity.api.sessions import UserFrozen
from guilder.identity.domain.outside import FLOW_LIFE
from guilder.identity.http.challenges import MfaChallenge, challenge_answer
from guilder.identity.http.logins import Login, login_body, user_agent
from guilder.identity.http.second_factors import asker
from guilder.identity.service.outside_sign_in import Linked, OutsideSignIn
from guilder.kernel.errors import NotPermitted, Refusal
from guilder.platform.http.route import (
    Access,
    Answer,
    AnyAnswer,
    RawAnswer,
    RefusedAnswer,
    Request,
    Route,
)

_TAG: Final = "Sign-in with others"
Headers = tuple[tuple[str, str], ...]


class CallbackQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a provider sends a browser back with: a code, or an error."""

    state: str = ""
    code: str | None = None
    error: str | None = None
    iss: str | None = None


class Going(msgspec.Struct, kw_only=True):
    """Where the browser goes now."""

    authorization_url: str


class LinkBody(msgspec.Struct, kw_only=True):
    """A provider that the user signs in with; linked_by is user or email."""

    provider: str
    linked_by: str
    linked_at: datetime
    last_used_at: datetime | None


class OutsideRoutes:
    """The handlers. Cookies are for https alone when ``is_https``."""

    def __init__(self, sign_in: OutsideSignIn, *, is_https: bool) -> None:
        self._sign_in = sign_in
        # with this prefix, no neighbouring site can have set it
        self._prefix = "__Host-guilder_" if is_https else "guilder_"
        self._secure = "; Secure" if is_https else ""

    async def start(self, request: Request) -> RawAnswer:
        """Send the browser to the provider. It keeps a cookie that it has to come back with."""
        leaving = await self._sign_in.begin(request.params["provider"])
        return RawAnswer(
            status=302,
            body=b"",
            content_type="text/plain",
            headers=(("Location", leaving.url), *self._keeping(leaving)),
        )

    async def link(self, request: Request) -> Answer:
        """Begin to link the provider to the caller; the browser is to go where the answer says.

        A session that began a while ago has to prove itself first, at ``POST /auth/step-up``.
        """
        leaving = await self._sign_in.begin(request.params["provider"], linking=_own(request))
        return Answer(data=Going(authorization_url=leaving.url), headers=self._keeping(leaving))

    async def callback(self, request: Request) -> AnyAnswer:
        """Sign in, as ``POST /auth/login`` answers it; 204 where it was to link the provider.

        Whoever has second factors here is asked for one. Somebody whom nobody here is linked to
        is linked to the customer with the same email if both sides have verified it, and refused
        otherwise.
        """
        query: CallbackQuery = request.query
        # whatever comes of it, this was the sign-in's only way back
        over = (
            self._cookie(self._name(query.state), "", max_age_s=0),
            ("Referrer-Policy", "no-referrer"),
        )
        try:
            done = await self._sign_in.finish(
                request.params["provider"],
                Return(
                    state=query.state,
                    browser_secret=self._kept(request, query.state),
                    code=query.code,
                    issuer=query.iss,
                    error=query.error,
                ),
                user_agent=user_agent(request),
                client_address=request.client_address,
            )
        except Refusal as refusal:
            return RefusedAnswer(refusal=refusal, headers=over)
        if isinstance(done, Challenge):
            answer = challenge_answer(done)
        elif isinstance(done, Linked):
            answer = Answer(data=None, status=204)
        else:
            answer = Answer(data=login_body(done))
        answer.headers = over
        return answer

    async def links(self, request: Request) -> Answer:
        """The providers that the caller signs in with."""
        caller = request.user
        found = await self._sign_in.links(caller.customer_id or caller.user_id)
        links = [
            LinkBody(
                provider=link.provider,
                linked_by=link.linked_by,
                linked_at=link.linked_at,
                last_used_at=link.last_used_at,
            )
            for link in found
        ]
        return Answer(data=links)

    async def unlink(self, request: Request) -> Answer:
        """Sign in with the provider no more."""
        await self._sign_in.unlink(_own(request), request.params["provider"])
        return Answer(data=None)

    def routes(self) -> tuple[Route, ...]:
        """Away and back, and what is linked."""
        return (*self._going(), *self._linking())

    def _going(self) -> tuple[Route, ...]:
        return (
            Route(
                method="GET",
                path="/auth/oauth/{provider}/start",
                handler=self.start,
                access=Access.PUBLIC,
                summary="Sign in with a provider",
                tag=_TAG,
                status=302,
                raises=(ProviderNotFound, SignInProviderUnavailable),
            ),
            Route(
                method="GET",
                path="/auth/oauth/{provider}/callback",
                handler=self.callback,
                access=Access.PUBLIC,
                summary="Come back from a provider",
                tag=_TAG,
                query=CallbackQuery,
                query_is_open=True,
                answers=Login,
                accepted=MfaChallenge,
                raises=(
                    ProviderNotFound,
                    OutsideSignInFailed,
                    SignInProviderUnavailable,
                    NotLinked,
                    AlreadyLinked,
                    UserFrozen,
                    InvalidCredentials,
                ),
            ),
        )

    def _linking(self) -> tuple[Route, ...]:
        return (
            Route(
                method="POST",
                path="/auth/oauth/{provider}/link",
                handler=self.link,
                access=Access.ANY_CALLER,
                summary="Link a provider to sign in with",
                tag=_TAG,
                answers=Going,
                raises=(ProviderNotFound, SignInProviderUnavailable, StepUpRequired, NotPermitted),
            ),
            Route(
                method="GET",
                path="/auth/links",
                handler=self.links,
                access=Access.ANY_CALLER,
                summary="Providers that one signs in with",
                tag=_TAG,
                answers=list[LinkBody],
            ),
            Route(
                method="DELETE",
                path="/auth/links/{provider}",
                handler=self.unlink,
                access=Access.ANY_CALLER,
                summary="Sign in with a provider no more",
                tag=_TAG,
                status=204,
                raises=(LinkNotFound, StepUpRequired, NotPermitted),
            ),
        )

    def _keeping(self, leaving: Departure) -> Headers:
        """What makes the browser keep its secret, and caches forget where it went."""
        life_s = int(FLOW_LIFE.total_seconds())
        name = self._name(leaving.state)
        return (
            self._cookie(name, leaving.browser_secret, max_age_s=life_s),
            ("Referrer-Policy", "no-referrer"),
        )

    def _cookie(self, name: str, value: str, *, max_age_s: int) -> tuple[str, str]:
        rules = f"Max-Age={max_age_s}; Path=/; HttpOnly; SameSite=Lax{self._secure}"
        return "Set-Cookie", f"{name}={value}; {rules}"

    def _name(self, state: str) -> str:
        """A cookie for each sign-in, so that two tabs do not get in each other's way."""
        return f"{self._prefix}{sha256(state.encode()).hexdigest()[:16]}"

    def _kept(self, request: Request, state: str) -> str | None:
        """The secret that the browser was given. What else it keeps is not looked into."""
        wanted = self._name(state)
        for pair in request.headers.get("cookie", "").split(";"):
            name, _, value = pair.strip().partition("=")
            if name == wanted:
                return value
        return None


def _own(request: Request) -> Asker:
    """Whose session asks: one of the account that a provider signs in to.

    Raises:
        NotPermitted: it is another account of the user's, or a token without a session.
    """
    who = asker(request)
    # the portal's account sees codes and must not become the one that moves money
    if who.account_id != who.user_id:
        raise NotPermitted
    return who
