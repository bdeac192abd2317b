"""Who the token belongs to."""

from sandbox.api.call import Call, Json


def get_me(call: Call) -> Json:
    """A company API token acts for no user: the description allows that, and clients must not trip over it."""
    world, user = call.world, call.world.user
    person = {
        "id": user.id,
        "first_name": user.first_name,
        "last_name": user.last_name,
        "email": user.email,
        "locale": user.locale,
    }
    return {
        "user": person if call.grant.for_user else None,
        "company": {"id": world.id, "name": world.name, "reg_no": world.reg_no, "accounting_logic": "FR_PCG"},
        "scopes": list(call.grant.scopes),
    }
