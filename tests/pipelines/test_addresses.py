"""A Postgres is reached in the ways that libpq knows: with or without password, by socket, encrypted and verified."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509

from pipelines.errors import WarehouseUnusable
from pipelines.warehouse import warehouse_at
from resources.store import Store, StoreUnavailable, schema_version
from sandbox.changes import invoices
from tests.certificates import self_signed
from tests.pipelines.conftest import MakeCompany
from tests.postgres import PostgresServer

_SSL_REQUEST = bytes([0, 0, 0, 8, 4, 210, 22, 47])


class Encrypting:
    """Stands before a Postgres that has no TLS, and counts connections that were encrypted and that were not."""

    def __init__(self, port: int, certificate: Path) -> None:
        self._behind = port
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.encrypted = 0
        self.plain = 0
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _listen(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._behind)) as server:
            first = client.recv(8, socket.MSG_WAITALL)
            if first != _SSL_REQUEST:
                self.plain += 1
                server.sendall(first)
                self._pass_on(client, server)
                return
            client.sendall(b"S")
            try:
                with self._context.wrap_socket(client, server_side=True) as private:
                    self.encrypted += 1
                    self._pass_on(private, server)
            except (ssl.SSLError, OSError):  # the client does not trust us
                return

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        back = threading.Thread(target=self._copy, args=[server, client], daemon=True)
        back.start()
        self._copy(client, server)
        back.join()

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while piece := source.recv(65_536):
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            return


@contextmanager
def _trusted(server: PostgresServer, folder: Path) -> Iterator[tuple[Encrypting, str]]:
    """A server with TLS, and the address of an empty database there without its options."""
    folder.mkdir()
    front = Encrypting(server.port, self_signed(folder, x509.IPAddress(ip_address("127.0.0.1"))))
    database = f"encrypted_{front.port}"
    server.run(f"CREATE DATABASE {database}")
    yield front, server.url(database).replace(f":{server.port}/", f":{front.port}/")
    front.close()


def test_an_address_with_sslmode_encrypts_whatever_is_sent(
    postgres_server: PostgresServer, make_company: MakeCompany, tmp_path: Path
) -> None:
    with _trusted(postgres_server, tmp_path / "tls") as (front, address):
        for mode in ("require", "verify-full"):
            url = f"{address}?sslmode={mode}&sslrootcert={tmp_path / 'tls' / 'certificate.pem'}"
            company = make_company(2, 5, warehouse_at(url))
            company.sync()
            assert company.differences() == []
            with Store(url).reading() as transaction:
                assert transaction.scalar(schema_version.select())
        assert front.encrypted > 6
        assert front.plain == 0


def test_a_server_whose_certificate_is_not_the_trusted_one_gets_nothing(
    postgres_server: PostgresServer, make_company: MakeCompany, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = self_signed(tmp_path / "other", x509.IPAddress(ip_address("127.0.0.1")))
    with _trusted(postgres_server, tmp_path / "tls") as (front, address):
        url = f"{address}?sslmode=verify-full&sslrootcert={other}"
        with pytest.raises(WarehouseUnusable, match=r"Postgres cannot be reached: .*certificate verify failed") as told:
            make_company(1, 1, warehouse_at(url)).sync()
        assert postgres_server.password not in str(told.value)
        with pytest.raises(StoreUnavailable, match="certificate verify failed"), Store(url).reading():
            pass
        assert (front.encrypted, front.plain) == (0, 0)


WAYS = {
    "with password": "postgresql://postgres:{server.password}@127.0.0.1:{server.port}/{database}",
    "through its socket": "postgresql://postgres@/{database}?host={server.sockets}&port={server.port}",
    "all as options": "postgresql:///{database}?host={server.sockets}&port={server.port}&user=postgres",
    "not encrypted": "postgresql://postgres:{server.password}@127.0.0.1:{server.port}/{database}?sslmode=disable",
}


def test_each_way_of_writing_an_address_leads_to_the_same_tables_and_connections(
    postgres_server: PostgresServer, make_company: MakeCompany
) -> None:
    postgres_server.run("CREATE DATABASE addressed")
    company = make_company(2, 5)
    for way, address in WAYS.items():
        url = address.format(server=postgres_server, database="addressed")
        company.warehouse = warehouse_at(url)
        invoices.create_invoice(company.world)
        company.sync()
        assert company.differences() == [], way
        with Store(url).reading() as transaction:
            assert transaction.scalar(schema_version.select())


def test_a_server_without_encryption_is_not_used_where_the_address_asks_for_it(
    postgres_server: PostgresServer, make_company: MakeCompany
) -> None:
    with pytest.raises(WarehouseUnusable, match="server does not support SSL"):
        make_company(1, 1, warehouse_at(f"{postgres_server.url('postgres')}?sslmode=require")).sync()
