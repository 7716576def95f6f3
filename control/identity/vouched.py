"""People whom somebody else signs in: by their e-mail address, which who vouches for them has verified.

Neighbour: `accounts` is how people sign in by themselves.
"""

import sqlalchemy as sa

from control import events
from control.identity import accounts, people
from control.identity.principals import Role
from control.tables import users
from kit.db import Tx
from kit.errors import Conflict, Refused


def sign_in(
    tx: Tx, account_id: str, *, email: str, name: str, subject: str, by: str, role: Role | None, follow: bool
) -> str:
    """A cookie for the person of an ASCII address, upper and lower case alike. An unknown one is added with `role`, or
    Refused where there is none; `follow` gives it to a known one too. `by` is who vouches, `subject` whom it means."""
    same = sa.func.lower(users.c.email) == email.lower()
    rows = tx.execute(sa.select(users.c.id).where(users.c.account_id == account_id, same)).scalars().all()
    if len(rows) > 1:
        text = f"There are {len(rows)} people here with the address {email}."
        raise Conflict("person_ambiguous", text, "An admin removes all but one under Settings › People.")
    if rows:
        user_id = rows[0]
        if follow and role is not None:
            people.change_role(tx, account_id, user_id, role, by=by)
    elif role is not None:
        user_id = accounts.add_user(tx, account_id, email=email, name=name, role=role)
    else:
        text = f"Nobody here has the address {email}."
        raise Refused("person_unknown", text, "An admin can add you under Settings › People.")
    events.append(tx, account_id, events.ACCOUNT, "user.signed_in", user=user_id, email=email, by=by, subject=subject)
    return accounts.issue(tx, user_id, "cookie", lasts=accounts.COOKIE_FOR)
