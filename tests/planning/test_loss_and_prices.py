"""The risk of a shipment and what spares change in it; prices, and files of prices with mistakes."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.errors import UsageError
from courier.planning.loss import Odds, risk_of, too_many_lost
from courier.planning.prices import parse_prices

CHANCES = st.floats(0, 1, allow_nan=False)


def test_one_medium_in_a_hundred_lost_of_ten() -> None:
    odds = Odds(lost=0.01, damaged=0)
    assert risk_of(10, (), odds, parity=False).planned == pytest.approx(1 - 0.99**10)
    spared = risk_of(10, [(11, 1)], odds, parity=False).planned
    assert spared == pytest.approx(1 - 0.99**11 - 11 * 0.01 * 0.99**10)


@given(st.integers(1, 60), st.integers(0, 5), CHANCES, CHANCES)
def test_spares_and_parity_never_raise_the_risk_and_more_media_never_lower_it(
    media: int, spares: int, lost: float, damaged: float
) -> None:
    odds = Odds(lost=lost, damaged=damaged)
    groups = [(media + spares, spares)] if spares else []
    risk = risk_of(media, groups, odds, parity=True)
    assert 0 <= risk.planned <= risk.parity_only + 1e-9
    assert risk.parity_only <= risk.bare + 1e-9
    assert risk.one_spare <= risk.parity_only + 1e-9
    more = risk_of(media + 1, (), odds, parity=True)
    assert more.planned >= risk_of(media, (), odds, parity=True).planned - 1e-9


@given(st.integers(1, 255), st.integers(0, 254), CHANCES)
def test_more_spares_in_a_group_of_one_size_lower_the_risk(members: int, spares: int, chance: float) -> None:
    assert too_many_lost(members, spares + 1, chance) <= too_many_lost(members, spares, chance) + 1e-9


GOOD = """
currency = "EUR"
shipment = 48.50
gigabyte = 0.02
[media]
bd25 = 3.2
[sites.BR2]
shipment = 100
"""


def test_prices_add_up_and_a_site_may_have_its_own() -> None:
    prices = parse_prices(GOOD, name="prices.toml")
    assert prices.network("BR1", 10**12) == Decimal("20.00")
    assert prices.courier("BR1", "bd25", 3) == Decimal("58.10")
    assert prices.courier("BR2", "bd25", 1) == Decimal("103.20")
    assert prices.network("BR2", 10**9) == Decimal("0.02")
    assert prices.courier("BR1", "dvd5", 1) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("currency = ", "TOML"),
        pytest.param(f"shipment = {'9' * 5000}", "TOML", id="digits"),
        pytest.param(f"media = {'[' * 5000}", "TOML", id="brackets"),
        ('currency = "EUR"\n[sites.BR1]\ngigabyte = "a"', "prices.toml: sites.BR1: gigabyte is no price"),
        ("shipment = 1", "currency"),
        ('currency = "EUR"\nshipmnt = 1', "shipmnt"),
        ('currency = "EUR"\nshipment = -1', "shipment"),
        ('currency = "EUR"\nshipment = true', "shipment"),
        ('currency = "EUR"\nshipment = nan', "shipment"),
        ('currency = "EUR"\nshipment = "1"', "shipment"),
        ('currency = "EUR"\nmedia = 1', "media"),
        ('currency = "EUR"\n[media]\nbd26 = 1', "bd26"),
        ('currency = "EUR"\n[sites]\nBR1 = 1', "BR1"),
        ('currency = "EUR"\n[sites.BR1]\nship = 1', "ship"),
    ],
)
def test_a_mistake_in_the_prices_is_named(text: str, says: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_prices(text, name="prices.toml")
    assert says in refused.value.message + refused.value.hint
    assert refused.value.message.startswith("prices.toml")
