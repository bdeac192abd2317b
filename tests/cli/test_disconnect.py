"""`disconnect`, and coming back."""

import requests

from sandbox.server import SandboxServer
from tests.cli.test_connect import authorize_in
from tests.program import Program, control
from tests.resources.browser import Browser


def accepts(sandbox: SandboxServer, token: str) -> bool:
    """Whether Pennylane answers a call with this token."""
    headers = {"Authorization": f"Bearer {token}"}
    return requests.get(f"{sandbox.url}/api/external/v2/me", headers=headers, timeout=30).ok


def connect_in_browser(program: Program, sandbox: SandboxServer) -> None:
    with program.start("connect", "--no-browser", "--json") as process:
        authorize_in(process, Browser(sandbox.world.id))
        process.communicate(timeout=120)
    assert process.returncode == 0


def test_disconnecting_revokes_the_access_keeps_the_data_and_reconnecting_resumes_it(
    synced: Program, sandbox: SandboxServer
) -> None:
    connect_in_browser(synced, sandbox)
    held = synced.accounts(sandbox.world.id)
    control(sandbox, "DELETE", "requests")

    gone = synced.done("disconnect", "--yes", "--json").document
    assert gone == {"company_id": sandbox.world.id, "state": "disconnected", "revoked": True}
    assert control(sandbox, "GET", "requests")["by_path"] == {"/oauth/revoke": 2}
    (status,) = synced.status()
    assert (status["state"], status["excluded_accounts"]) == ("disconnected", 2)
    assert synced.accounts(sandbox.world.id) == held
    assert "is disconnected. Connect it again: pennylane-sync connect" in synced.fails("sync")

    new = control(sandbox, "POST", "changes/create_customer")["id"]
    connect_in_browser(synced, sandbox)
    (status,) = synced.status()
    assert (status["state"], status["excluded_accounts"], status["last_error"]) == ("active", 2, None)
    tables = synced.done("sync", "--json").document["tables"]
    assert tables["accounts"]["mode"] == "incremental"
    assert synced.accounts(sandbox.world.id) == held | {new}


def test_an_api_token_is_forgotten_and_who_has_to_delete_it_is_said(synced: Program, sandbox: SandboxServer) -> None:
    ran = synced.run("disconnect")
    assert ran.status == 0
    assert ran.out.endswith("Its data stays, and is no longer updated.\n")
    assert "was not revoked at Pennylane: delete it in the settings there." in ran.err
    assert accepts(sandbox, sandbox.token())
    store = synced.home / "connections.sqlite"
    assert not store.exists() or sandbox.token().encode() not in store.read_bytes()


def test_disconnecting_works_while_pennylane_is_out_of_reach(synced: Program, sandbox: SandboxServer) -> None:
    connect_in_browser(synced, sandbox)
    gone = synced.with_settings(PENNYLANE_URL="http://127.0.0.1:9").done("disconnect", "--yes", "--json").document
    assert gone == {"company_id": sandbox.world.id, "state": "disconnected", "revoked": False}
    assert synced.status()[0]["state"] == "disconnected"
