"""Clients for the tests of access: one for each role, with keys."""

from issuer.access.bearer import hash_key, make_key
from issuer.access.clients import Clients, NewClient
from issuer.access.roles import Caller, Role


class Staff:
    """Adds clients to a register, and knows their keys."""

    def __init__(self, clients: Clients) -> None:
        self.clients = clients
        self.keys: dict[str, str] = {}

    def add(self, name: str, *roles: Role) -> Caller:
        """Add a client with a new key; return it as it calls."""
        self.keys[name] = make_key()
        new = NewClient(name, frozenset(roles), bearer_key_sha256=hash_key(self.keys[name]))
        return Caller(self.clients.add(new, now=1), name, frozenset(roles))

    def add_one_of_each(self) -> None:
        """Add a client of each role, named for it."""
        for role in Role:
            self.add(role.name.lower(), role)
