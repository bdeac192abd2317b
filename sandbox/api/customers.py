"""Customers and their contacts."""

from sandbox.answers.customers import contact_record, customer_record
from sandbox.api.call import Call, Json
from sandbox.errors import not_found
from sandbox.filters import CUSTOMER_FIELDS
from sandbox.records import Customer


def list_customers(call: Call) -> Json:
    page = call.page(call.world.customers, CUSTOMER_FIELDS)
    call.statistics.serve(customer.id for customer in page.rows)
    return call.answer(page, lambda customer: customer_record(customer, call.base_url))


def get_customer(call: Call) -> Json:
    return _one(call, call.find(call.world.customers))


def get_company_customer(call: Call) -> Json:
    return _one_shape(call, individual=False)


def get_individual_customer(call: Call) -> Json:
    return _one_shape(call, individual=True)


def list_contacts(call: Call) -> Json:
    customer = call.find(call.world.customers, "customer_id")
    page = call.short_page(customer.contacts)
    call.statistics.serve([customer.id])
    return call.answer(page, contact_record)


def _one_shape(call: Call, *, individual: bool) -> Json:
    customer = call.find(call.world.customers, described_as_text=True)
    if customer.individual != individual:
        raise not_found()
    return _one(call, customer, typed=False)


def _one(call: Call, customer: Customer, *, typed: bool = True) -> Json:
    call.statistics.serve([customer.id])
    return customer_record(customer, call.base_url, typed=typed)
