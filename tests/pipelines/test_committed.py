"""dlt keeps where the cursors stand; reading that takes no dlt."""

import base64
import subprocess
import sys
import zlib

import pytest

from pipelines.committed import committed
from pipelines.loading import Loader
from pipelines.warehouse import Warehouse
from sandbox.changes import customers
from tests.pipelines.conftest import MakeCompany


def test_what_is_committed_is_where_dlt_would_go_on_from(make_company: MakeCompany, any_warehouse: Warehouse) -> None:
    company = make_company(warehouse=any_warehouse)
    with any_warehouse.session() as session:
        assert committed(session, company.id) == {}
    company.sync()
    customers.update_customer(company.world, id=next(iter(company.world.customers)).id, name="Another name")
    company.sync()
    with any_warehouse.session() as session:
        state = committed(session, company.id)
    assert state is not None
    assert state["cursors"]
    loader = Loader(any_warehouse, company.id, company.work_dir)
    assert loader.state == state


@pytest.mark.parametrize("written", ["in a newer way", "without compression"])
def test_a_state_that_is_written_in_another_way_is_read_by_dlt(
    make_company: MakeCompany, any_warehouse: Warehouse, written: str
) -> None:
    company = make_company(warehouse=any_warehouse)
    company.sync()
    with any_warehouse.session() as session:
        if written == "in a newer way":
            session.execute("UPDATE receivables._dlt_pipeline_state SET engine_version = 5")
        else:
            ((kept,),) = session.rows("SELECT state FROM receivables._dlt_pipeline_state ORDER BY version DESC LIMIT 1")
            plain = zlib.decompress(base64.b64decode(kept)).decode()
            session.execute("UPDATE receivables._dlt_pipeline_state SET state = %s", plain)
        assert committed(session, company.id) is None
    company.forget_requests()
    assert company.sync().lists.mode == "incremental"
    assert company.requests["total"] == 2


def test_what_a_run_loads_does_not_need_dlt_before_there_is_something_to_load() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", "import definitions, sys; print('dlt' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert loaded.stdout == "False\n"
