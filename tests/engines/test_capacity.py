"""Quantities of Kubernetes, and what it says of pods that it does not make."""

import pytest

from hpo_pipeline.engines.kubernetes.capacity import never_fits, quantity, shown

QUOTA = (
    'pods "big-0000-x" is forbidden: exceeded quota: small, requested: requests.cpu={}, '
    "used: requests.cpu={}, limited: requests.cpu=700m"
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2", 2.0),
        ("500m", 0.5),
        ("1.5", 1.5),
        ("1Ki", 1024.0),
        ("4Gi", 4 * 2**30),
        ("1k", 1000.0),
        ("2G", 2e9),
        ("1e3", 1000.0),
        ("1E", 1e18),
    ],
)
def test_quantities(text, value):
    assert quantity(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "two", "1 Gi", "1mi"])
def test_what_is_no_quantity(text):
    with pytest.raises(ValueError, match="not a quantity"):
        quantity(text)


def test_amounts_are_shown_as_people_write_them():
    assert [shown("cpu", 0.7), shown("cpu", 1.9), shown("limits.memory", 300 * 2**20)] == [
        "700m",
        "1.9",
        "300Mi",
    ]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (QUOTA.format("1", "0"), True),
        (QUOTA.format("500m", "400m"), False),
        ("pods is forbidden: maximum cpu usage per Container is 1, but limit is 2", True),
        ("Internal error occurred: failed calling webhook", False),
    ],
)
def test_whether_a_pod_can_ever_be_made(message, expected):
    assert never_fits(message) == expected
