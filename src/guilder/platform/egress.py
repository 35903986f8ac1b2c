"""Calls to addresses that strangers chose: where they may go, and how long and large they may be.

A name is resolved once, every address it has is judged, and the connection goes to exactly one of
those, so nothing can change its mind between the look and the call. Redirects are answers like any
other, nothing is decompressed, and no proxy of the environment is used.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Final, Protocol
from urllib.parse import SplitResult, urlsplit
from weakref import WeakValueDictionary

from guilder.kernel.errors import ValidationFailed
from guilder.platform.addresses import Address, is_public

MOST_URL: Final = 2048
_PRINTABLE: Final = re.compile(r"[\x21-\x7e]+", re.ASCII)
_NAME: Final = re.compile(r"[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?", re.ASCII)
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_ALLOWED: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[0-9.]+):(\*|\d{1,5})")
_RESOLVERS: Final = 128
_MOST_OF_ONE_DOMAIN: Final = 4
_CHECK_S: Final = 3.0


class UrlRefused(ValidationFailed):
    """The URL may not be called. ``details["fields"]["url"]`` says why."""

    message = "Guilder does not call this URL."

    def __init__(self, reason: str) -> None:
        super().__init__(None, fields={"url": reason})
        self.reason = reason


class NoSuchHost(Exception):
    """The name has no address just now."""


class Resolver(Protocol):
    """Where the addresses of a name come from."""

    async def addresses(self, host: str, port: int) -> Sequence[Address]:
        """Every address of ``host``, best first.

        Raises:
            NoSuchHost: it has none, or nobody could say.
        """
        ...


class SystemResolver:
    """Asks the operating system, in threads of its own: a slow name delays no other work.

    A look-up that was begun cannot be ended: it has its thread for as long as it takes, though
    nobody waits for it any more. So the names of one domain, whose servers may all be slow, have a
    few threads at a time, and wait for each other.
    """

    def __init__(
        self,
        *,
        look_up: Callable[[str, int], Sequence[str]] | None = None,
        threads: int = _RESOLVERS,
    ) -> None:
        self._look_up = look_up or _look_up
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="resolver")
        self._places: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def addresses(self, host: str, port: int) -> Sequence[Address]:
        domain, free = _domain(host), asyncio.Semaphore(_MOST_OF_ONE_DOMAIN)
        places = self._places.setdefault(domain, free)
        await places.acquire()
        asked = self._threads.submit(self._look_up, host, port)
        loop = asyncio.get_running_loop()

        def give_back(_: object) -> None:
            with suppress(RuntimeError):  # the loop has ended, and nobody waits
                loop.call_soon_threadsafe(places.release)

        asked.add_done_callback(give_back)
        try:
            found = await asyncio.wrap_future(asked)
        except (OSError, UnicodeError) as error:
            raise NoSuchHost(host) from error
        return [ip_address(address) for address in dict.fromkeys(found)]


def _domain(host: str) -> str:
    """What somebody registered of ``host``, by its form: example.com, example.co.uk."""
    labels = host.split(".")
    has_a_second_level = len(labels[-1]) == 2 and len(labels) > 2 and len(labels[-2]) <= 3
    return ".".join(labels[-3:] if has_a_second_level else labels[-2:])


def _look_up(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return [str(entry[4][0]) for entry in found]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A URL taken apart and found fit in itself. ``host`` is what certificates are checked for."""

    secure: bool
    host: str
    port: int
    path: str
    """With the query."""

    @property
    def authority(self) -> str:
        """What the Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = _DEFAULT_PORTS["https" if self.secure else "http"]
        return host if self.port == default else f"{host}:{self.port}"


class EgressRules:
    """What may be called. ``allow`` lists receivers of tests as ``address:port``; port * is any."""

    def __init__(
        self, *, https_only: bool, ports: Sequence[int] = (80, 443), allow: Sequence[str] = ()
    ) -> None:
        self._https_only = https_only
        self._ports = frozenset(ports)
        self._allowed = frozenset(allowed_receiver(text) for text in allow)

    def read(self, url: str) -> Target:
        """Take ``url`` apart.

        Raises:
            UrlRefused: it is malformed, or its scheme, port or form is not allowed.
        """
        parts = _split(url)
        if parts.scheme not in _DEFAULT_PORTS or (self._https_only and parts.scheme == "http"):
            raise UrlRefused("must begin with https://")
        host = _host(parts)
        try:
            port = _DEFAULT_PORTS[parts.scheme] if parts.port is None else parts.port
        except ValueError:
            raise UrlRefused("has a port that does not exist") from None
        if port not in self._ports and not any(known in {port, None} for _, known in self._allowed):
            raise UrlRefused("has a port that is not allowed")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return Target(secure=parts.scheme == "https", host=host, port=port, path=path)

    def judge(self, addresses: Sequence[Address], *, port: int) -> list[Address]:
        """Those of ``addresses`` that may be connected to.

        One bad address spoils the name: a public service has no private ones, and a name that
        has both is made to slip through.

        Raises:
            UrlRefused: one of them is not a public one.
        """
        listed = [found for found in addresses if self._is_listed(found, port)]
        if listed:
            return listed
        if port not in self._ports:
            raise UrlRefused("has a port that is not allowed")
        if not all(is_public(found) for found in addresses):
            raise UrlRefused("leads to an address that is not public")
        return list(addresses)

    def _is_listed(self, address: Address, port: int) -> bool:
        return bool(self._allowed & {(address, port), (address, None)})


class Egress:
    """The one door to receivers that strangers chose."""

    def __init__(self, rules: EgressRules, *, resolver: Resolver) -> None:
        self._rules = rules
        self._resolver = resolver

    async def check(self, url: str) -> None:
        """Refuse a URL that could never be called, as far as one can tell now.

        A name without an address may have one later; `find` judges again at every call.

        Raises:
            UrlRefused: it is malformed, not allowed, or leads to an address that is not public.
        """
        target = self._rules.read(url)
        try:
            async with asyncio.timeout(_CHECK_S):
                await self._addresses(target)
        except (NoSuchHost, TimeoutError):
            return

    async def find(self, url: str) -> tuple[Target, list[Address]]:
        """Where to connect for ``url``, judged just now.

        Raises:
            UrlRefused: it may not be called.
            NoSuchHost: its name has no address.
        """
        target = self._rules.read(url)
        return target, await self._addresses(target)

    async def _addresses(self, target: Target) -> list[Address]:
        try:
            found: Sequence[Address] = [ip_address(target.host)]
        except ValueError:
            found = await self._resolver.addresses(target.host, target.port)
        if not found:
            raise NoSuchHost(target.host)
        return self._rules.judge(found, port=target.port)


def allowed_receiver(text: str) -> tuple[Address, int | None]:
    """One entry of the allow-list: an address and a port, None for any.

    Raises:
        ValueError: it is not written as ``127.0.0.1:9000``, ``[::1]:9000`` or with ``*``.
    """
    found = _ALLOWED.fullmatch(text)
    if found is None:
        raise ValueError("write it as 127.0.0.1:9000, [::1]:9000 or 127.0.0.1:*")
    port = None if found[2] == "*" else int(found[2])
    if port is not None and not 0 < port <= 65_535:
        raise ValueError("there is no such port")
    return ip_address(found[1].strip("[]")), port


def _split(url: str) -> SplitResult:
    if not _PRINTABLE.fullmatch(url) or "\\" in url:
        raise UrlRefused("must be plain ASCII without spaces; write names in punycode")
    if len(url) > MOST_URL:
        raise UrlRefused(f"must have at most {MOST_URL} characters")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise UrlRefused("is not a URL") from None
    if "@" in parts.netloc:
        raise UrlRefused("must not carry a user or password")
    if parts.fragment or url.endswith("#"):
        raise UrlRefused("must not have a fragment")
    return parts


def _host(parts: SplitResult) -> str:
    host = (parts.hostname or "").lower()
    if parts.netloc.startswith("["):
        try:
            return str(IPv6Address(host.replace("%", "/")))  # an interface of ours is no address
        except ValueError:
            raise UrlRefused("has a host that is not an address") from None
    if not _NAME.fullmatch(host) or ".." in host:
        raise UrlRefused("must name a host")
    return host
