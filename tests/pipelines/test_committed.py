"""dlt keeps where the cursors stand; reading that takes no dlt."""

import subprocess
import sys

from pipelines.committed import SOURCE, committed
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
    assert state["cursors"]
    loader = Loader(any_warehouse, company.id, company.work_dir)
    assert loader._pipeline.state["sources"][SOURCE] == state


def test_what_a_run_loads_does_not_need_dlt_before_there_is_something_to_load() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", "import definitions, sys; print('dlt' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert loaded.stdout == "False\n"
