"""What Dagster shows before anything has run."""

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from assets import definitions
from assets.metadata import GROUP
from pipelines.tables import TABLES, Table
from pipelines.views import VIEWS, View
from resources.installation import Installation

ROOT = Path(__file__).parents[2]

UPSTREAM = {
    "companies": set(),
    "excluded_accounts": set(),
    "accounts": {"excluded_accounts"},
    "invoices": {"excluded_accounts"},
    "credit_notes": {"excluded_accounts"},
    "contacts": {"accounts"},
    "payments": {"invoices"},
    "open_invoices": {"invoices", "payments", "accounts", "excluded_accounts", "companies"},
    "account_balances": {"open_invoices", "accounts"},
    "aged_balance": {"open_invoices"},
}

_LOAD = """
import socket

def no_network(*_):
    raise AssertionError("network")

socket.socket.connect = no_network
import definitions
assert len(definitions.defs.resolve_asset_graph().get_all_asset_keys()) == 10
"""


@pytest.fixture(scope="module")
def specs() -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in definitions(Installation()).resolve_all_asset_specs()}


def test_the_definitions_load_without_network_settings_or_a_folder_to_write_in(tmp_path: Path) -> None:
    """As a code server does, with nothing in its environment; unusable settings do not matter either."""
    nowhere = tmp_path / "nowhere"
    nowhere.mkdir()
    environment = {"PATH": os.environ["PATH"], "HOME": str(nowhere), "WAREHOUSE_URL": "mysql://no", "TMPDIR": "/tmp"}  # noqa: S108
    if "PYTHONPATH" in os.environ:
        environment["PYTHONPATH"] = os.environ["PYTHONPATH"]
    nowhere.chmod(0o500)
    subprocess.run(
        [sys.executable, "-W", "error:::assets", "-c", _LOAD], cwd=nowhere, env=environment, check=True, timeout=60
    )
    assert list(nowhere.iterdir()) == []


def test_there_is_an_asset_for_each_table_and_view_and_no_other(specs: dict[str, dg.AssetSpec]) -> None:
    assert set(specs) == {one.name for one in (*TABLES, *VIEWS)}


def test_the_lineage_goes_from_the_exclusions_by_the_lists_to_details_and_views(
    specs: dict[str, dg.AssetSpec],
) -> None:
    assert {name: {dep.asset_key.to_user_string() for dep in spec.deps} for name, spec in specs.items()} == UPSTREAM


@pytest.mark.parametrize("declared", [*TABLES, *VIEWS], ids=lambda one: str(one.name))
def test_an_asset_shows_its_table_as_declared(specs: dict[str, dg.AssetSpec], declared: Table | View) -> None:
    spec = specs[declared.name]
    assert spec.description == declared.description
    assert spec.group_name == GROUP
    assert spec.partitions_def == dg.DynamicPartitionsDefinition(name="connections")
    assert spec.metadata["dagster/table_name"] == f"receivables.{declared.name}"
    shown = {column.name: column.description for column in spec.metadata["dagster/column_schema"].columns}
    if isinstance(declared, View):
        assert shown == declared.columns
    else:
        assert shown == {column.name: column.description for column in declared.columns}
    assert all(shown.values())


def test_each_job_runs_every_asset_for_one_company_and_says_what_it_is_for() -> None:
    everything = definitions(Installation())
    for name in ("hourly_sync", "initial_sync", "full_sync"):
        job = everything.resolve_job_def(name)
        assert {key.to_user_string() for key in job.asset_layer.selected_asset_keys} == set(UPSTREAM)
        assert job.partitions_def == dg.DynamicPartitionsDefinition(name="connections")
        assert job.description


def test_the_hourly_sync_and_the_deletion_of_old_runs_are_on_from_the_start_and_the_comparison_is_off() -> None:
    on, off = dg.DefaultScheduleStatus.RUNNING, dg.DefaultScheduleStatus.STOPPED
    schedules = [one for one in definitions(Installation()).schedules or [] if isinstance(one, dg.ScheduleDefinition)]
    assert {one.name: (one.default_status, one.cron_schedule) for one in schedules} == {
        "hourly": (on, "0 * * * *"),
        "daily_verification": (off, "30 3 * * *"),
        "daily_deletion": (on, "45 2 * * *"),
    }


def test_the_listed_tables_have_a_check_per_company_that_no_sync_runs() -> None:
    everything = definitions(Installation())
    checks = {(key.asset_key.to_user_string(), key.name) for key in everything.resolve_asset_graph().asset_check_keys}
    assert checks == {(table, "equals_pennylane") for table in ("accounts", "invoices", "credit_notes")}
    verify = everything.resolve_job_def("verify")
    assert {node.name for node in verify.nodes} == {"verify_tables"}
    assert verify.partitions_def == dg.DynamicPartitionsDefinition(name="connections")
    assert verify.description
    for name in ("hourly_sync", "initial_sync", "full_sync"):
        assert "verify_tables" not in {node.name for node in everything.resolve_job_def(name).nodes}


def test_dagster_accepts_the_instance_s_settings_and_sends_nothing_home(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text())
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert not instance.telemetry_enabled
        assert not instance.nux_enabled
        assert instance.run_monitoring_enabled
        assert not instance.run_retries_enabled
        queue = instance.get_concurrency_config().run_queue_config
    assert queue is not None
    (limit,) = queue.tag_concurrency_limits
    assert limit == {"key": "dagster/partition", "value": {"applyLimitPerUniqueValue": True}, "limit": 1}
    assert queue.max_concurrent_runs == 4
