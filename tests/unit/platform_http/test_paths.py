"""One table says what every path means, in both spellings."""

from __future__ import annotations

import pytest

from guilder.kernel.invariant import InvariantViolation
from guilder.platform.http.paths import ApiPaths

SERVICES = ("identity", "auth", "wallet", "account", "transaction", "ledger", "kyc", "card")
ROUTES = (
    "/auth/login",
    "/wallets",
    "/wallets/{id}",
    "/wallets/{id}/activate",
    "/wallets/{id}/cards",
    "/wallets/search",
    "/wallet/",
    "/wallet/history",
    "/accounts",
    "/accounts/{id}",
    "/accounts/user/{user_id}",
    "/accounts/{id}/balance",
    "/ledger/accounts",
    "/ledger/accounts/{id}",
    "/kyc/limits",
    "/transactions/transfer",
)

SPELLINGS = [
    # by resource
    ("/api/v1/auth/login", "/auth/login", ()),
    ("/api/v1/wallets/7", "/wallets/{id}", ("7",)),
    ("/api/v1/wallets/7/", "/wallets/{id}", ("7",)),
    ("/api/v1/wallets/search", "/wallets/search", ()),
    ("/api/v1/accounts/user/7", "/accounts/user/{user_id}", ("7",)),
    ("/api/v1/accounts/user/balance", "/accounts/user/{user_id}", ("balance",)),
    ("/api/v1/accounts/7/balance", "/accounts/{id}/balance", ("7",)),
    # by service: the name is dropped, then the path finds its owner
    ("/api/v1/identity/auth/login", "/auth/login", ()),
    ("/api/v1/wallet/wallets", "/wallets", ()),
    ("/api/v1/wallet/wallets/7/activate", "/wallets/{id}/activate", ("7",)),
    ("/api/v1/wallet/wallets/7/cards", "/wallets/{id}/cards", ("7",)),
    ("/api/v1/transaction/transactions/transfer", "/transactions/transfer", ()),
    ("/api/v1/account/accounts/7", "/accounts/{id}", ("7",)),
    # a path that is a route as it stands means that route, though it begins with a service
    ("/api/v1/ledger/accounts", "/ledger/accounts", ()),
    ("/api/v1/ledger/accounts/7", "/ledger/accounts/{id}", ("7",)),
    ("/api/v1/ledger/ledger/accounts", "/ledger/accounts", ()),
    ("/api/v1/ledger/ledger/accounts/7", "/ledger/accounts/{id}", ("7",)),
    ("/api/v1/kyc/limits", "/kyc/limits", ()),
    ("/api/v1/kyc/kyc/limits", "/kyc/limits", ()),
    ("/api/v1/wallet/", "/wallet/", ()),
    ("/api/v1/wallet", "/wallet/", ()),
    ("/api/v1/wallet/wallet/", "/wallet/", ()),
    ("/api/v1/wallet/history", "/wallet/history", ()),
    ("/api/v1/wallet/wallet/history", "/wallet/history", ()),
    ("/api/v1/identity/wallet/", "/wallet/", ()),
    # and only one name is dropped
    ("/api/v1/identity/wallet/wallets", None, ()),
    ("/api/v1/ledger/accounts/7/balance", "/accounts/{id}/balance", ("7",)),
    # what is nothing
    ("/api/v1/wallets//", None, ()),
    ("/api/v1//wallets", None, ()),
    ("/api/v1/wallets//activate", None, ()),
    ("/api/v1/wallets/7/nonsense", None, ()),
    ("/api/v1/nonsense/wallets", None, ()),
    ("/api/v1/WALLETS", None, ()),
    ("/api/v1", None, ()),
    ("/api/v1/", None, ()),
    ("/api/v1/wallet//wallets", None, ()),
    ("/api/v1/wallets/7\x00", None, ()),
    ("/api/v1/wallets/7\n", None, ()),
    ("/api/v1/wallets/\u202e7", None, ()),
    ("/wallets", None, ()),
    ("/api/v2/wallets", None, ()),
    ("/api/v1wallets", None, ()),
    ("", None, ()),
    ("*", None, ()),
    # at the root
    ("/health/live", "/health/live", ()),
    ("/health/live/", "/health/live", ()),
    ("/", "/", ()),
    ("/docs/x.js", "/docs/{name}", ("x.js",)),
]


def _table() -> ApiPaths[str]:
    table: ApiPaths[str] = ApiPaths(SERVICES)
    for path in ROUTES:
        table.add(path, method="GET", value=path)
    for path in ("/health/live", "/", "/docs/{name}"):
        table.add(path, method="GET", value=path, at_root=True)
    table.freeze()
    return table


@pytest.mark.parametrize(("path", "route", "values"), SPELLINGS)
def test_a_path_means_one_route(path: str, route: str | None, values: tuple[str, ...]) -> None:
    found = _table().find(path)

    assert (found.methods["GET"] if found else None) == route
    assert (found.values if found else ()) == values


def test_a_route_that_reads_as_a_service_and_a_route_hides_the_shorter_spelling() -> None:
    # /accounts cannot be spelled /ledger/accounts, because that is a route of the ledger.
    table = _table()
    meant = {
        service: found.methods["GET"]
        for service in SERVICES
        if (found := table.find(f"/api/v1/{service}/accounts"))
    }

    assert meant.pop("ledger") == "/ledger/accounts"
    assert set(meant.values()) == {"/accounts"}


@pytest.mark.parametrize(
    "second", ["/wallets/{id}", "/wallets/{wallet_id}", "/wallets/{id}/"], ids=str
)
def test_two_routes_of_one_meaning_stop_the_start(second: str) -> None:
    table: ApiPaths[str] = ApiPaths()
    table.add("/wallets/{id}", method="GET", value="first")

    with pytest.raises(InvariantViolation, match="declared once"):
        table.add(second, method="GET", value="second")


def test_another_method_on_the_same_path_is_another_route() -> None:
    table: ApiPaths[str] = ApiPaths()
    table.add("/wallets/{id}", method="GET", value="look")
    table.add("/wallets/{wallet_id}", method="DELETE", value="close")

    found = table.find("/api/v1/wallets/7")

    assert found is not None
    assert found.methods == {"GET": "look", "DELETE": "close"}


def test_a_route_at_the_root_stays_clear_of_the_api() -> None:
    table: ApiPaths[str] = ApiPaths()

    with pytest.raises(InvariantViolation, match="stays clear"):
        table.add("/api/v1/wallets", method="GET", value="x", at_root=True)
