"""Tables as the first version of the program made them, written out by hand: never to be changed.

dlt's notes of what it made are left out, as after a restore of the tables alone: it then looks at what is there.
"""

import base64
import json
import zlib
from datetime import datetime

from pipelines.warehouse import Session, Warehouse

_DOCUMENT = """
    account_id BIGINT, invoice_number {text}, label {text}, status {text}, draft BOOLEAN, paid BOOLEAN, date DATE,
    deadline DATE, currency {text}, currency_amount DECIMAL(38,6), currency_amount_before_tax DECIMAL(38,6),
    currency_tax DECIMAL(38,6), amount DECIMAL(38,6), tax DECIMAL(38,6), exchange_rate DECIMAL(38,12),
    remaining_amount_with_tax DECIMAL(38,6), remaining_amount_without_tax DECIMAL(38,6), language {text},
    discount_type {text}, discount_value DECIMAL(38,6), special_mention {text}, pdf_invoice_subject {text},
    pdf_invoice_free_text {text}, pdf_description {text}, filename {text}, factur_x BOOLEAN,
    schematron_validation_status {text}, e_invoicing_status {text}, e_invoicing_reason {text},
    e_invoicing_flow_id {text}, transaction_reference_banking_provider {text},
    transaction_reference_provider_field_name {text}, transaction_reference_provider_field_value {text},
    ledger_entry_id BIGINT, billing_subscription_id BIGINT, customer_invoice_template_id BIGINT, quote_id BIGINT,
    external_reference {text}, archived_at {time}, created_at {time}, updated_at {time}
"""
_TABLES = (
    "CREATE SCHEMA receivables",
    """
    CREATE TABLE receivables.companies (
        company_id BIGINT NOT NULL, company_name {text}, disconnected_at {time}, synced_at {time}
    )
    """,
    """
    CREATE TABLE receivables.excluded_accounts (
        company_id BIGINT NOT NULL, account_id BIGINT NOT NULL, excluded_at {time}, synced_at {time}
    )
    """,
    """
    CREATE TABLE receivables.accounts (
        company_id BIGINT NOT NULL, account_id BIGINT NOT NULL, source {text}, customer_type {text}, name {text},
        first_name {text}, last_name {text}, reg_no {text}, vat_number {text}, emails {json}, phone {text},
        recipient {text}, reference {text}, notes {text}, billing_iban {text}, payment_conditions {text},
        billing_language {text}, billing_address {text}, billing_address_postal_code {text},
        billing_address_city {text}, billing_address_country_alpha2 {text}, delivery_address {text},
        delivery_address_postal_code {text}, delivery_address_city {text}, delivery_address_country_alpha2 {text},
        ledger_account_id BIGINT, external_reference {text}, created_at {time}, updated_at {time},
        contacts_synced_at {time}, synced_at {time}
    )
    """,
    """
    CREATE TABLE receivables.contacts (
        company_id BIGINT NOT NULL, contact_id BIGINT NOT NULL, account_id BIGINT, first_name {text}, last_name {text},
        role {text}, email {text}, telephone_number {text}, mobile_number {text}, created_at {time}, updated_at {time},
        synced_at {time}
    )
    """,
    f"""
    CREATE TABLE receivables.invoices (
        company_id BIGINT NOT NULL, invoice_id BIGINT NOT NULL, {_DOCUMENT}, payments_synced_at {{time}},
        synced_at {{time}}
    )
    """,
    f"""
    CREATE TABLE receivables.credit_notes (
        company_id BIGINT NOT NULL, credit_note_id BIGINT NOT NULL, credited_invoice_id BIGINT, {_DOCUMENT},
        synced_at {{time}}
    )
    """,
    """
    CREATE TABLE receivables.payments (
        company_id BIGINT NOT NULL, invoice_id BIGINT NOT NULL, kind {text} NOT NULL, payment_id BIGINT NOT NULL,
        label {text}, status {text}, date DATE, currency {text}, currency_amount DECIMAL(38,6), amount DECIMAL(38,6),
        outstanding_balance DECIMAL(38,6), currency_fee DECIMAL(38,6), fee DECIMAL(38,6), bank_account_id BIGINT,
        journal_id BIGINT, attachment_required BOOLEAN, archived_at {time}, created_at {time}, updated_at {time},
        synced_at {time}
    )
    """,
    "COMMENT ON TABLE receivables.accounts IS 'Customers of the company (made 2026-09-01T08:00:00+00:00)'",
    "COMMENT ON TABLE receivables.invoices IS 'Customer invoices (made 2026-09-01T08:00:00+00:00)'",
    "COMMENT ON TABLE receivables.credit_notes IS 'Credit notes (made 2026-09-01T08:00:00+00:00)'",
    """
    CREATE TABLE receivables._dlt_version (
        version BIGINT NOT NULL, engine_version BIGINT NOT NULL, inserted_at {time} NOT NULL,
        schema_name {text} NOT NULL, version_hash {text} NOT NULL, schema {text} NOT NULL
    )
    """,
    """
    CREATE TABLE receivables._dlt_loads (
        load_id {text} NOT NULL, schema_name {text}, status BIGINT NOT NULL, inserted_at {time} NOT NULL,
        schema_version_hash {text}
    )
    """,
    """
    CREATE TABLE receivables._dlt_pipeline_state (
        version BIGINT NOT NULL, engine_version BIGINT NOT NULL, pipeline_name {text} NOT NULL, state {text} NOT NULL,
        created_at {time} NOT NULL, version_hash {text}, _dlt_load_id {text} NOT NULL, _dlt_id {text} NOT NULL
    )
    """,
)

_ROWS = (
    "INSERT INTO receivables.companies VALUES ({company}, 'As it was', NULL, '{since}')",
    "INSERT INTO receivables.excluded_accounts VALUES ({company}, {excluded}, '{since}', '{since}')",
    """
    INSERT INTO receivables.accounts (
        company_id, account_id, source, customer_type, name, emails, notes, created_at, contacts_synced_at, synced_at
    ) VALUES
    ({company}, {excluded}, 'pennylane', 'company', 'Left out since', '["a@example.org"]', '', '{since}', '{since}',
     '{since}'),
    ({company}, 4, 'pennylane', 'individual', 'Deleted since', '[]', NULL, '{since}', '{since}', '{since}')
    """,
    """
    INSERT INTO receivables.contacts (company_id, contact_id, account_id, email, synced_at)
    VALUES ({company}, 5, {excluded}, 'a@example.org', '{since}'), ({company}, 6, 4, 'd@example.org', '{since}')
    """,
    """
    INSERT INTO receivables.invoices (
        company_id, invoice_id, account_id, invoice_number, status, draft, paid, date, deadline, currency,
        currency_amount, amount, exchange_rate, remaining_amount_with_tax, payments_synced_at, synced_at
    ) VALUES
    ({company}, 1, {excluded}, 'F-1', 'upcoming', FALSE, FALSE, '2026-08-01', '2026-08-31', 'EUR', 1200.000001,
     1200.000001, 1.000000000001, 200.5, '{since}', '{since}'),
    ({company}, 2, 4, 'F-2', 'paid', FALSE, TRUE, '2026-08-01', '2026-08-31', 'EUR', 12, 12, 1, 0, '{since}', '{since}')
    """,
    """
    INSERT INTO receivables.credit_notes (
        company_id, credit_note_id, credited_invoice_id, account_id, currency, amount, synced_at
    ) VALUES ({company}, 3, 1, {excluded}, 'EUR', -999.500001, '{since}')
    """,
    """
    INSERT INTO receivables.payments (
        company_id, invoice_id, kind, payment_id, label, currency, currency_amount, created_at, synced_at
    ) VALUES ({company}, 1, 'payment', 9, '', 'EUR', 1000, '{since}', '{since}')
    """,
    "INSERT INTO receivables._dlt_loads VALUES ('1788000000.5', 'pennylane', 0, '{since}', NULL)",
    """
    INSERT INTO receivables._dlt_pipeline_state
    VALUES (2, 4, 'pennylane_{company}', '{state}', '{since}', NULL, '1788000000.5', 'AbCdEfGhIjKlMn')
    """,
)


def make_tables(warehouse: Warehouse, company_id: int, excluded: int, since: datetime) -> None:
    """Make them, with a few rows of a company that was synchronized until then.

    One account is left out, with an invoice half paid, a credit note and a contact. Another one with an invoice was
    deleted at Pennylane since.
    """
    with warehouse.session() as session:
        words = {
            "text": "VARCHAR",
            "json": "JSONB" if _is_postgres(session) else "JSON",
            "time": "TIMESTAMP WITH TIME ZONE",
            "company": str(company_id),
            "excluded": str(excluded),
            "since": since.isoformat(),
            "state": _state(company_id, excluded, since),
        }
        for statement in (*_TABLES, *_ROWS):
            session.execute(statement.format(**words))


def _is_postgres(session: Session) -> bool:
    return "PostgreSQL" in session.value("SELECT version()")


def _state(company_id: int, excluded: int, since: datetime) -> str:
    cursor = {"until": since.isoformat(), "recent": []}
    made = "2026-09-01T08:00:00+00:00"
    source = {
        "cursors": {"/changelogs/customers": cursor, "/changelogs/customer_invoices": cursor},
        "listed_until": since.isoformat(),
        "tables": {"accounts": made, "invoices": made, "credit_notes": made},
        "kept_out_until": None,
        "excluded": [excluded],
        "unreadable": {},
        "unreadable_details": {},
    }
    pipeline = {
        "_state_version": 2,
        "_state_engine_version": 4,
        "default_schema_name": "pennylane",
        "schema_names": ["pennylane"],
        "pipeline_name": f"pennylane_{company_id}",
        "dataset_name": "receivables",
        "_version_hash": "vjEHPeJJY8Lv9R34T8unQe6PENO11vwJjIAkbH9SfkU=",
        "sources": {"pennylane": source},
    }
    return base64.b64encode(zlib.compress(json.dumps(pipeline).encode())).decode()
