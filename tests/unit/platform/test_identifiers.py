"""Identifiers of the driver's own kind are the ones that everybody else would have made."""

from __future__ import annotations

from uuid import UUID, uuid4, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guilder.platform.identifiers import named_id, native, new_id, read_id


@given(namespace=st.uuids(), name=st.text())
def test_a_named_id_is_the_version_5_of_its_name(namespace: UUID, name: str):
    assert named_id(namespace, name) == uuid5(namespace, name)
    assert named_id(native(namespace), name) == uuid5(namespace, name)


def test_new_ids_are_of_version_7_and_in_order():
    made = [new_id() for _ in range(1_000)]

    assert {id_.version for id_ in made} == {7}
    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_a_native_id_is_equal_and_found_under_the_other():
    other = uuid4()

    assert native(other) == other
    assert hash(native(other)) == hash(other)


@given(id_=st.uuids())
def test_an_id_is_read_in_its_usual_form_in_either_case(id_: UUID):
    assert read_id(str(id_)) == id_
    assert read_id(str(id_).upper()) == id_


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "01a229d536e175 33bd705c405fc1d2ab",
        "01a229d536e17533bd705c405fc1d2ab",
        "{01a229d5-36e1-7533-bd70-5c405fc1d2ab}",
        "urn:uuid:01a229d5-36e1-7533-bd70-5c405fc1d2ab",
        "01a229d53-6e1-7533-bd70-5c405fc1d2ab",
        "01a229d5-36e1-7533-bd70-5c405fc1d2az",
        "\u06601a229d5-36e1-7533-bd70-5c405fc1d2a",
        " 1a229d5-36e1-7533-bd70-5c405fc1d2ab",
        "01a229d5-36e1-7533-bd70-5c405fc1d2ab\n",
    ],
)
def test_nothing_else_is_read_as_an_id(text: str):
    with pytest.raises(ValueError, match="UUID"):
        read_id(text)
