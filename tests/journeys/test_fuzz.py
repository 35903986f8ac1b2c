"""The API fuzzed from its own OpenAPI document: what it says is what it does, and never a 500."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.journeys.conftest import Guilder
from tests.support.customer import Customer, data
from tests.support.tokens import token_of_everybody

EXAMPLES = 12
"""For each operation, of each mode: requests as the document allows them, and others."""


def fuzz(
    operation: APIOperation,
    mode: GenerationMode,
    *,
    token: str,
    known: Mapping[str, str] = MappingProxyType({}),
) -> str | None:
    """Send requests to one operation; what its answers did that the document does not say.

    Parameters and fields of the names in ``known`` have these values, and not random ones.
    """

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case: Case) -> None:
        for part in (case.path_parameters, case.query, case.body):
            if isinstance(part, dict):
                part.update((name, value) for name, value in known.items() if name in part)
        # what a schema cannot say (cursors, currencies, funds) is refused with a reason
        case.call_and_validate(
            headers={"Authorization": f"Bearer {token}"},
            excluded_checks=[positive_data_acceptance],
        )

    try:
        send()
    except FailureGroup as failures:
        return "\n".join(str(failure) for failure in failures.exceptions)
    except Unsatisfiable:
        # it takes nothing that could be wrong
        assert mode is GenerationMode.NEGATIVE
    return None


@pytest.mark.parametrize("mode", GenerationMode, ids=lambda mode: mode.value)
def test_the_api_does_what_its_document_says(house: Guilder, mode: GenerationMode):
    token = token_of_everybody(house.folder)

    failures = {
        operation.label: fuzz(operation, mode, token=token) for operation in operations(house)
    }

    assert_none(failures)


def test_it_does_so_for_a_customer_with_wallets_and_money(
    house: Guilder, anna: Customer, ben: Customer
):
    wallets = [anna.open_wallet(funds="500.00") for _ in range(2)]
    payment = data(anna.transfer(wallets[0], wallets[1], "1.00"), 201)
    known = {
        "wallet_id": wallets[0],
        "from_wallet_id": wallets[0],
        "to_wallet_id": wallets[1],
        "counterparty": ben.open_wallet(),
        "account_id": wallets[1],
        "transaction_id": payment["id"],
        "currency": "INR",
    }

    failures = {
        operation.label: fuzz(operation, GenerationMode.POSITIVE, token=anna.token, known=known)
        for operation in operations(house)
    }

    assert_none(failures)


def operations(house: Guilder) -> list[APIOperation]:
    """Every operation; those last that end the session in which all are tried."""
    schema = schemathesis.openapi.from_url(f"{house.address}/openapi.json")
    found = [each.ok() for each in schema.get_all_operations()]
    return sorted(found, key=lambda operation: "/auth/logout" in operation.path)


def assert_none(failures: Mapping[str, str | None]) -> None:
    told = [f"{label}\n{text}" for label, text in failures.items() if text]
    assert failures
    assert not told, "\n\n".join(told)
