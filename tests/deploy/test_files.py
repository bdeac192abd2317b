"""The files of `deploy/`: that each is what its program takes, that they agree, and that none holds a secret.

What runs of them is run by test_production.py; the image, compose and the chart need programs that tests have not.
"""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.instance import ROOT
from tests.deploy.units import DEPLOY, SERVICES, UNITS, example, settings
from tests.program import PROGRAM

DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")


def loaded(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


INSTANCE = loaded(DEPLOY / "dagster.yaml")
VALUES = loaded(DEPLOY / "helm" / "values.yaml")
COMPOSE = loaded(DEPLOY / "compose.yaml")


def environment_of(service: str) -> dict[str, str]:
    found: dict[str, str] = COMPOSE["services"][service]["environment"]
    return found


def asked_of_the_environment() -> set[str]:
    """The variables that Dagster's own files need."""
    files = (DEPLOY / "dagster.yaml", DEPLOY / "workspace.yaml")
    return {name for file in files for name in re.findall(r"env: (\w+)", file.read_text(encoding="utf-8"))}


def pins(file: Path) -> dict[str, str]:
    return dict(re.findall(r"^([\w.\-]+)(?:\[.*\])?==(\S+)", file.read_text(encoding="utf-8"), re.MULTILINE))


def test_compose_takes_the_compose_file() -> None:
    checker = PROGRAM.with_name("check-jsonschema")
    command = [str(checker), "--builtin-schema", "vendor.compose-spec", str(DEPLOY / "compose.yaml")]
    checked = subprocess.run(command, check=False, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd-analyze")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    units = Path(shutil.copytree(UNITS, tmp_path / "units"))
    for unit in units.glob("*.service"):
        unit.write_text(unit.read_text().replace("/opt/pennylane-sync/.venv/bin", str(PROGRAM.parent)))
    names = ["pennylane-sync.target", *(f"pennylane-sync-{service}" for service in SERVICES)]
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *names],
        env={"SYSTEMD_UNIT_PATH": f"{units}:", "PATH": "/usr/bin:/bin"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert (checked.returncode, checked.stderr) == (0, "")


def test_each_service_is_given_what_dagster_s_files_ask_of_the_environment() -> None:
    asked = asked_of_the_environment()
    assert "DAGSTER_POSTGRES_PASSWORD" in asked
    for service in SERVICES:
        own = {name.split("=")[0] for line in settings(service)["Environment"] for name in line.split()}
        assert asked <= own | example(UNITS / "dagster.env.example").keys()
    for name in ("code", "daemon", "webserver"):
        assert asked <= environment_of(name).keys()


def test_what_compose_asks_of_its_env_file_is_in_the_example_and_nothing_else() -> None:
    asked = set(re.findall(r"\$\{(\w+)", (DEPLOY / "compose.yaml").read_text(encoding="utf-8")))
    assert example(DEPLOY / "compose.env.example").keys() == asked


def test_pennylane_s_secrets_and_the_tables_are_for_the_code_server_and_who_connects_alone() -> None:
    secret = {"WAREHOUSE_URL", "PENNYLANE_SYNC_KEY", "PENNYLANE_CLIENT_SECRET"}
    services = COMPOSE["services"].items()
    assert [name for name, one in services if secret & one["environment"].keys()] == ["code", "connect"]
    assert secret <= example(UNITS / "sync.env.example").keys()
    assert [
        service for service in SERVICES if "/etc/pennylane-sync/sync.env" in settings(service)["EnvironmentFile"]
    ] == ["code.service"]


def test_no_file_holds_a_password_or_a_key() -> None:
    for path in DEPLOY.rglob("*.example"):
        named = example(path).items()
        assert [name for name, value in named if value and re.search("PASSWORD|SECRET|KEY|_URL", name)] == []
    assert "postgresqlPassword" not in VALUES["postgresql"]
    assert not VALUES["generatePostgresqlPasswordSecret"]


def test_the_ui_and_compose_s_database_are_served_to_this_machine_only() -> None:
    published = {name: service["ports"] for name, service in COMPOSE["services"].items() if "ports" in service}
    assert published == {
        "postgres": ["127.0.0.1:${POSTGRES_PORT:-5432}:5432"],
        "webserver": ["127.0.0.1:3000:3000"],
    }
    (command,) = settings("webserver.service")["ExecStart"]
    assert "-h 127.0.0.1" in command
    assert VALUES["dagsterWebserver"]["service"]["type"] == "ClusterIP"
    assert not VALUES["ingress"]["enabled"]


def test_who_connects_by_oauth_beside_compose_s_services_works_on_their_company_their_tables_and_their_runs() -> None:
    served, beside = environment_of("code"), environment_of("connect")
    differing = {name for name in served.keys() & beside.keys() if served[name] != beside[name]}
    assert differing == {"DAGSTER_POSTGRES_HOST", "DAGSTER_POSTGRES_PORT", "WAREHOUSE_URL"}
    assert served.keys() - beside.keys() == {"TINI_KILL_PROCESS_GROUP"}
    assert beside["WAREHOUSE_URL"] == served["WAREHOUSE_URL"].replace(
        "@postgres/", "@127.0.0.1:${POSTGRES_PORT:-5432}/"
    )
    services = COMPOSE["services"]
    assert services["connect"]["volumes"] == services["code"]["volumes"]
    assert services["connect"]["network_mode"] == "host"
    assert services["connect"]["profiles"] == ["connect"]


def test_compose_s_commands_are_programs_of_the_image_and_its_files_exist() -> None:
    for service in COMPOSE["services"].values():
        command = service.get("command", ["dagster"])
        assert PROGRAM.with_name(command[0]).exists()
        for argument in command:
            if argument.startswith("/opt/pennylane-sync/"):
                assert (ROOT / argument.removeprefix("/opt/pennylane-sync/")).exists()
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (DEPLOY / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]
        for needed in service.get("depends_on", {}):
            assert needed in COMPOSE["services"]


def test_the_image_holds_the_program_and_runs_as_nobody_in_particular() -> None:
    kept = re.findall(r"^!(.+)$", (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8"), re.MULTILINE)
    assert [name for name in kept if not (ROOT / name).exists()] == []
    packages = re.search(r"include = \[(.*)\]", (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert packages is not None
    assert {name.strip('"*, ') for name in packages[1].split(",")} <= set(kept)
    assert re.findall(r"^USER (\S+)", DOCKERFILE, re.MULTILINE) == ["10001:10001"]
    assert "pip install --no-cache-dir --no-compile --require-hashes -r deploy/requirements.txt" in DOCKERFILE


def test_the_image_has_what_was_tested_and_the_launcher_for_kubernetes() -> None:
    tested, image = pins(ROOT / "requirements.txt"), pins(DEPLOY / "requirements.txt")
    assert tested.items() <= image.items()
    assert "dagster-k8s" in image


def test_one_run_per_company_holds_everywhere() -> None:
    limits = INSTANCE["concurrency"]["runs"]["tag_concurrency_limits"]
    assert limits == [{"key": "dagster/partition", "value": {"applyLimitPerUniqueValue": True}, "limit": 1}]
    assert loaded(ROOT / "dagster.yaml")["concurrency"]["runs"]["tag_concurrency_limits"] == limits
    assert VALUES["concurrency"]["runs"]["tagConcurrencyLimits"] == limits


def test_kubernetes_has_the_limits_the_retries_and_the_retention_of_the_other_ways() -> None:
    daemon = VALUES["dagsterDaemon"]
    runs, monitoring, retries = INSTANCE["concurrency"]["runs"], INSTANCE["run_monitoring"], INSTANCE["run_retries"]
    assert VALUES["concurrency"]["runs"]["maxConcurrentRuns"] == runs["max_concurrent_runs"]
    queue = daemon["runCoordinator"]["config"]["queuedRunCoordinator"]
    assert queue["dequeueIntervalSeconds"] == INSTANCE["run_queue"]["dequeue_interval_seconds"]
    assert daemon["runMonitoring"]["startTimeoutSeconds"] == monitoring["start_timeout_seconds"]
    assert daemon["runMonitoring"]["pollIntervalSeconds"] == monitoring["poll_interval_seconds"]
    assert daemon["runMonitoring"]["maxResumeRunAttempts"] == monitoring["max_resume_run_attempts"]
    assert daemon["runRetries"]["maxRetries"] == retries["max_retries"]
    assert daemon["runRetries"]["retryOnAssetOrOpFailure"] == retries["retry_on_asset_or_op_failure"]
    assert VALUES["retention"]["schedule"]["purgeAfterDays"] == INSTANCE["retention"]["schedule"]["purge_after_days"]
    assert set(VALUES["retention"]["sensor"]["purgeAfterDays"].values()) == {
        INSTANCE["retention"]["sensor"]["purge_after_days"]
    }


def test_the_definitions_have_the_same_name_and_the_same_user_everywhere() -> None:
    """Dagster knows schedules and runs by it: who changes from one way to another keeps them."""
    (local,) = loaded(ROOT / "workspace.yaml")["load_from"]
    (served,) = loaded(DEPLOY / "workspace.yaml")["load_from"]
    (deployment,) = VALUES["dagster-user-deployments"]["deployments"]
    name = local["python_module"]["location_name"]
    assert served["grpc_server"]["location_name"] == deployment["name"] == name
    assert deployment["podSecurityContext"]["runAsUser"] == 10001
    assert deployment["podSecurityContext"]["runAsNonRoot"]
