"""What a database says reaches people as one line."""

import pytest

from pipelines.errors import WarehouseUnusable
from pipelines.warehouse import Warehouse


def test_an_error_of_the_database_is_one_line_that_says_what_to_expect_next(any_warehouse: Warehouse) -> None:
    with any_warehouse.session() as session, pytest.raises(WarehouseUnusable) as refused:
        session.rows("SELECT * FROM receivables.no_such_table")

    assert "\n" not in str(refused.value)
    assert "no_such_table" in str(refused.value)
    assert "the next sync goes on from here" in str(refused.value)
