"""The rights that the other brokers are given are those that our policy grants."""

import pytest

from bench import accounts
from bench.accounts import Accounts, Rights
from chat.ids import is_device, is_service
from chat.models import Member, Principal, PrincipalKind, Role
from chat.permissions import Action, Facts, allows
from chat.topics import parse

ACCOUNTS = Accounts(4, (2, 3))


def principal(name: str) -> Principal:
    if is_service(name):
        return Principal(name, PrincipalKind.SERVICE)
    return Principal(name, PrincipalKind.DEVICE if is_device(name) else PrincipalKind.USER)


def facts(name: str, scope: str) -> Facts:
    """As the accounts are seeded."""
    sizes = {accounts.chat(size): size for size in ACCOUNTS.chats}
    inside = name == accounts.SPEAKER or name in map(accounts.user, range(sizes.get(scope, 0)))
    member = Member(scope, name, Role.MEMBER, joined_at=None) if scope in sizes and inside else None  # type: ignore[arg-type]
    return Facts(member=member, owns_device=ACCOUNTS.devices().get(scope) == name)


def granted(name: str, action: Action, filter_: str) -> bool:
    topic = parse(filter_)
    return allows(principal(name), action, topic, facts(name, topic.scope if topic else ""))


@pytest.mark.parametrize(("name", "rights"), ACCOUNTS.rights().items())
def test_whatever_is_in_the_lists_our_policy_grants(name: str, rights: Rights) -> None:
    for filter_ in rights.publish:
        assert granted(name, Action.PUBLISH, filter_.replace("#", "value"))
    for filter_ in rights.subscribe:
        assert granted(name, Action.SUBSCRIBE, filter_)


def test_nobody_has_the_rights_of_another() -> None:
    rights = ACCOUNTS.rights()
    assert rights[accounts.user(1)].subscribe == (
        "users/u00001/inbox",
        *map(accounts.typing, ("g-bench00002", "g-bench00003")),
    )
    assert rights[accounts.user(2)].subscribe == ("users/u00002/inbox", accounts.typing("g-bench00003"))
    assert not granted(accounts.user(2), Action.SUBSCRIBE, accounts.typing("g-bench00002"))
    assert not granted(accounts.owner(0), Action.SUBSCRIBE, accounts.telemetry(accounts.device(1)))


def test_passwords_differ_from_name_to_name_and_run_to_run() -> None:
    assert ACCOUNTS.password("a") == ACCOUNTS.password("a")
    assert len({ACCOUNTS.password("a"), ACCOUNTS.password("b"), Accounts(4).password("a")}) == 3
    assert "token" not in repr(ACCOUNTS)
    assert ACCOUNTS._seed.hex() not in repr(ACCOUNTS)
