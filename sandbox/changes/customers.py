"""Customers come, change and go. Changes of contacts raise no event: nothing promises one."""

from dataclasses import replace
from typing import Any

from sandbox.changes.picking import ImpossibleError, pick_contact, pick_customer
from sandbox.generator.people import make_contact, make_customer
from sandbox.records import Contact, Customer
from sandbox.world import World

_ADDRESSES = ("billing_address", "delivery_address")
_CUSTOMER_FIELDS = frozenset(Customer.__slots__) - {"id", "individual", "created_at", "updated_at", "contacts"}
_CONTACT_FIELDS = frozenset(Contact.__slots__) - {"id", "created_at", "updated_at"}


def create_customer(world: World, *, customer_type: str | None = None, **fields: Any) -> dict[str, Any]:
    """A new `company` or `individual`."""
    if customer_type not in (None, "company", "individual"):
        raise ImpossibleError(f"customer_type is company or individual, not {customer_type!r}")
    with world.lock:
        now = world.clock.microseconds()
        individual = None if customer_type is None else customer_type == "individual"
        customer = make_customer(
            world.random, world.ids.customer + world.random.randrange(1, 400), now, individual=individual
        )
        _set(customer, fields, _CUSTOMER_FIELDS)
        world.ids.customer = customer.id
        world.customers.add(customer)
        world.customer_changed(customer, "insert", now)
        return {"id": customer.id}


def update_customer(world: World, *, id: int | None = None, **fields: Any) -> dict[str, Any]:
    """Other values for fields of a customer; a new phone number if none is given."""
    with world.lock:
        customer = pick_customer(world, id)
        _set(customer, fields or {"phone": f"+336{world.random.randrange(10**8):08d}"}, _CUSTOMER_FIELDS)
        world.customer_changed(customer, "update", world.clock.microseconds())
        return {"id": customer.id}


def delete_customer(world: World, *, id: int | None = None) -> dict[str, Any]:
    """Removes a customer and its contacts; its invoices stay, without a customer."""
    with world.lock:
        customer = pick_customer(world, id)
        now = world.clock.microseconds()
        orphans = [invoice for invoice in world.invoices if invoice.customer_id == customer.id]
        for invoice in orphans:
            invoice.customer_id, invoice.former_customer_id = None, customer.id
            world.invoice_changed(invoice, "update", now)
        for transaction in world.transactions:
            if transaction.customer_id == customer.id:
                transaction.customer_id = None
                world.transaction_changed(transaction, "update", now)
        world.customers.remove(customer.id)
        world.customer_changed(customer, "delete", now)
        return {"id": customer.id, "invoices": [invoice.id for invoice in orphans]}


def create_contact(world: World, *, customer_id: int | None = None, **fields: Any) -> dict[str, Any]:
    with world.lock:
        customer = pick_customer(world, customer_id)
        contact = make_contact(
            world.random, world.ids.contact + world.random.randrange(1, 30), world.clock.microseconds()
        )
        _set(contact, fields, _CONTACT_FIELDS)
        world.ids.contact = contact.id
        customer.contacts = (*customer.contacts, contact)
        return {"id": contact.id, "customer_id": customer.id}


def update_contact(world: World, *, id: int | None = None, **fields: Any) -> dict[str, Any]:
    """Other values for fields of a contact; a new e-mail address if none is given."""
    with world.lock:
        customer, contact = pick_contact(world, id)
        changed = replace(contact, updated_at=world.clock.microseconds())
        _set(changed, fields or {"email": f"contact{world.random.randrange(10**6)}@example.org"}, _CONTACT_FIELDS)
        customer.contacts = tuple(changed if each is contact else each for each in customer.contacts)
        return {"id": contact.id, "customer_id": customer.id}


def delete_contact(world: World, *, id: int | None = None) -> dict[str, Any]:
    with world.lock:
        customer, contact = pick_contact(world, id)
        customer.contacts = tuple(each for each in customer.contacts if each is not contact)
        return {"id": contact.id, "customer_id": customer.id}


def _set(record: Customer | Contact, fields: dict[str, Any], allowed: frozenset[str]) -> None:
    unknown = fields.keys() - allowed
    if unknown:
        raise ImpossibleError(f"cannot set {', '.join(sorted(unknown))}")
    for name, value in fields.items():
        setattr(record, name, _address(value) if name in _ADDRESSES else value)


def _address(parts: dict[str, str]) -> tuple[str, str, str, str]:
    return (
        parts.get("address", ""),
        parts.get("postal_code", ""),
        parts.get("city", ""),
        parts.get("country_alpha2", ""),
    )
