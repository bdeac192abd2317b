"""Dagster's instance of this installation: where the runs, schedules and partitions are kept."""

import os
from pathlib import Path

import dagster as dg

from assets.partitions import connections
from resources.settings import Settings
from resources.vault import make_private_folder

ROOT = Path(__file__).resolve().parent.parent


def dagster_home(settings: Settings) -> Path:
    """The folder of Dagster's dagster.yaml: DAGSTER_HOME where that is set, as in a deployment.

    Else one in the installation's home, which holds Dagster's storage, too.
    """
    if given := os.environ.get("DAGSTER_HOME"):
        return Path(given)
    home = settings.home / "dagster"
    make_private_folder(settings.home)
    make_private_folder(home)
    link = home / "dagster.yaml"
    if not link.is_symlink() or link.readlink() != ROOT / "dagster.yaml":
        link.unlink(missing_ok=True)
        link.symlink_to(ROOT / "dagster.yaml")
    return home


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """The instance whose runs the UI shows."""
    return dg.DagsterInstance.from_config(str(dagster_home(settings)))


def register(settings: Settings, company_id: int) -> None:
    """Make a company a partition that Dagster knows."""
    with open_instance(settings) as instance:
        instance.add_dynamic_partitions(str(connections.name), [str(company_id)])
