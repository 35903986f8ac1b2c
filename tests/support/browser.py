"""A browser that signs in with a provider: it follows redirects by hand and keeps its cookies.

And what a town has to know of that provider.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import msgspec

from guilder.identity import module
from guilder.identity.api.outside import Provider
from guilder.platform.egress import Egress, EgressRules, SystemResolver
from guilder.platform.outward import CallLimits
from tests.support.stranger import CLIENT_ID, CLIENT_SECRET, Stranger
from tests.support.town import Town
from tests.support.townhall import Townsman, customer


@dataclass
class Browser:
    """Somebody's browser in front of a town."""

    town: Town
    cookies: dict[str, str] = field(default_factory=dict)

    async def leave(self, provider: str) -> str:
        """Begin to sign in; where the provider is."""
        answer = await self.town.http.get(f"/api/v1/auth/oauth/{provider}/start")
        assert answer.status_code == 302, answer.text
        self.keep(answer)
        return answer.headers["location"]

    async def leave_to_link(self, provider: str, *, token: str) -> str:
        """Begin to link; where the provider is."""
        answer = await self.town.http.post(
            f"/api/v1/auth/oauth/{provider}/link", headers={"Authorization": f"Bearer {token}"}
        )
        assert answer.status_code == 200, answer.text
        self.keep(answer)
        url: str = answer.json()["data"]["authorization_url"]
        return url

    async def visit(self, url: str) -> str:
        """Sign in there, which sends back to where this says."""
        async with httpx2.AsyncClient(trust_env=False, timeout=60) as http:
            answer = await http.get(url)
        assert answer.status_code == 302, answer.text
        return answer.headers["location"]

    async def come_back(self, url: str) -> httpx2.Response:
        """Follow a provider's redirect to the town."""
        parts = urlsplit(url)
        sent = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        answer = await self.town.http.get(
            f"{parts.path}?{parts.query}", headers={"Cookie": sent} if sent else {}
        )
        self.keep(answer)
        return answer

    async def sign_in(self, provider: str) -> httpx2.Response:
        """All of it: away, there, and back."""
        return await self.come_back(await self.visit(await self.leave(provider)))

    async def link(self, provider: str, *, token: str) -> httpx2.Response:
        """All of it, for who is signed in."""
        there = await self.visit(await self.leave_to_link(provider, token=token))
        return await self.come_back(there)

    def keep(self, answer: httpx2.Response) -> None:
        self.town.http.cookies.clear()  # the town's client is nobody's browser
        for text in answer.headers.get_list("set-cookie"):
            for name, morsel in SimpleCookie(text).items():
                if morsel["max-age"] == "0":
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = morsel.value


def providers(stranger: Stranger, folder: Path) -> Mapping[str, Provider]:
    """The stranger as Google, as GitHub and as somebody else's provider."""
    entry = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "issuer": stranger.url}
    file = folder / "providers.json"
    file.write_bytes(msgspec.json.encode(dict.fromkeys(("google", "github", "acme"), entry)))
    rules = EgressRules(https_only=False, allow=["127.0.0.1:*"])
    limits = CallLimits(connect_s=10, total_s=20)
    return module.build_providers(
        file, egress=Egress(rules, resolver=SystemResolver()), limits=limits
    )


async def linked(town: Town, *, provider: str = "google") -> Townsman:
    """A customer who has linked whoever the provider names just now."""
    anna = await customer(town)
    answer = await Browser(town).link(provider, token=anna.token)
    assert answer.status_code == 204, answer.text
    return anna
