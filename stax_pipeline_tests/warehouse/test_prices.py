"""The price book in the warehouse: recorded once, changes supersede, nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa

from stax_pipeline.pricing.prices import shipped_prices
from stax_pipeline.warehouse.prices import read_book, record_prices
from stax_pipeline_tests.conftest import Installation, installed


@pytest.fixture(scope="module")
def made(stax_home: Path) -> Iterator[Installation]:
    with installed(stax_home) as installation:
        yield installation


@pytest.fixture
def connection(made: Installation) -> Iterator[sa.Connection]:
    with made.engine.connect() as opened:
        yield opened
        opened.rollback()


def test_what_is_shipped_is_recorded_once(connection: sa.Connection) -> None:
    prices = list(shipped_prices())
    assert record_prices(connection, prices).changed == len(prices) > 100
    version = read_book(connection).version
    assert record_prices(connection, prices).changed == 0
    assert read_book(connection).version == version
    assert set(read_book(connection).prices) == set(prices)


def test_a_changed_price_supersedes_and_the_old_one_stays(made: Installation) -> None:
    prices = list(shipped_prices())
    with made.engine.begin() as connection:
        record_prices(connection, prices)
        version = read_book(connection).version
    changed = prices[0]._replace(usd_per_unit=prices[0].usd_per_unit + Decimal("0.01"))
    with made.engine.begin() as connection:
        assert record_prices(connection, [changed]).changed == 1
        book = read_book(connection)
        assert changed in book.prices
        assert prices[0] not in book.prices
        assert len(book.prices) == len(prices)
        assert book.version != version
        kept = connection.execute(sa.text("select usd_per_unit from stax.list_prices where superseded_at is not null"))
        assert list(kept.scalars()) == [prices[0].usd_per_unit]
