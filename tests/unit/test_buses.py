"""The settings choose the bus, and what they say of Kafka is read or refused."""

from __future__ import annotations

import pytest

from guilder.apps.buses import WrongOptions, kafka_options
from guilder.platform.kafka.cloud_events import topic_of, topics_of
from guilder.platform.settings import Settings


def test_options_for_kafka_are_read_as_pairs():
    settings = Settings(kafka_options="security.protocol=SASL_SSL; sasl.password=a=b;")

    assert kafka_options(settings) == {"security.protocol": "SASL_SSL", "sasl.password": "a=b"}
    assert kafka_options(Settings()) == {}


def test_an_option_without_a_value_is_refused_and_not_repeated():
    with pytest.raises(WrongOptions) as refused:
        kafka_options(Settings(kafka_options="hunter2"))

    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("type_", "topic"),
    [
        ("com.guilder.transaction.completed", "transaction-events"),
        ("com.guilder.account.created", "account-events"),
        ("com.guilder.user.registered", "identity-events"),
        ("com.guilder.kyc.approved", "customer-events"),
        ("com.guilder.card.frozen", "card-events"),
    ],
)
def test_an_event_goes_to_the_topic_of_its_subject(type_: str, topic: str):
    assert topic_of(type_) == topic


def test_a_group_listens_to_the_topics_of_its_types():
    types = ["com.guilder.user.registered", "com.guilder.user.logged_in", "com.guilder.card.frozen"]

    assert topics_of(types) == ["card-events", "identity-events"]
    assert topics_of(None) == ["^[a-z0-9-]+-events$"]
