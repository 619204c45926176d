"""Who may do what: the one place, asked by the broker, the bridge and the api.

The rules are pure. What they need to know of a chat or device is fetched by the caller (`needs` says what), so that the same
rule serves a cached decision in the broker and a query in the api. What no rule allows is denied.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum, StrEnum

from chat.ids import is_device, is_direct_chat, is_service
from chat.models import ChatKind, Circle, Member, Principal, PrincipalKind, Role, User
from chat.topics import Kind, Topic


class Scope(StrEnum):
    """What an access token opens over REST. The rules below say what its holder may do there."""

    USER = "user"
    """To act as oneself: chats, history, contacts, devices, sign-ins."""
    MODERATE = "moderate"
    """To keep order: what administration gives to moderators."""
    ADMIN = "admin"
    """All of administration."""
    ADMIN_READ = "admin:read"
    """To look at what administrators see, and change nothing but what is noted of looking."""
    INTROSPECT = "introspect"
    """To ask whether a token is valid, and whose it is."""
    DEVICE = "device"
    """A thing's own credentials."""


IMPLIED: dict[Scope, frozenset[Scope]] = {Scope.ADMIN: frozenset({Scope.MODERATE, Scope.ADMIN_READ})}
"""What a scope brings along."""

SERVICE_SCOPES = frozenset({Scope.INTROSPECT, Scope.ADMIN_READ, Scope.MODERATE, Scope.ADMIN})
"""What an administrator may give to a service account. Never `user`: it is nobody, and in no chat."""


def scopes_of(principal: Principal) -> frozenset[Scope]:
    """The scopes of whoever holds a token, with those that they imply."""
    match principal.kind:
        case PrincipalKind.USER:
            held = {Scope.USER, Scope.ADMIN} if principal.admin else {Scope.USER}
        case PrincipalKind.DEVICE:
            held = {Scope.DEVICE}
        case PrincipalKind.ACCOUNT:
            held = {scope for scope in SERVICE_SCOPES if scope.value in principal.granted}
        case _:
            held = set()
    return frozenset(held).union(*(IMPLIED.get(scope, frozenset()) for scope in held))


def token_scope(*, admin: bool) -> str:
    """The claim `scope` of a user's token."""
    return f"{Scope.USER} {Scope.ADMIN}" if admin else Scope.USER.value


class Action(StrEnum):
    """What a principal does with a topic."""

    PUBLISH = "publish"
    SUBSCRIBE = "subscribe"


class Need(StrEnum):
    """The fact that a decision hangs on."""

    NOTHING = "nothing"
    MEMBERSHIP = "membership"
    """Is the principal a member of chat `scope` now?"""
    SHARED_CHAT = "shared_chat"
    """Does the principal share a chat with user `scope`?"""
    OWNERSHIP = "ownership"
    """Does the principal own device `scope`?"""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the caller found out, per `Need`. The defaults deny."""

    member: Member | None = None
    shares_chat: bool = False
    owns_device: bool = False
    blocked: bool = False
    """For `SHARED_CHAT`: that user has blocked the principal. For typing in a direct chat: one of the two has blocked the other."""


WRITERS = frozenset({Role.OWNER, Role.ADMIN, Role.MEMBER})
"""Roles that may publish messages, typing included."""

MANAGERS = frozenset({Role.OWNER, Role.ADMIN})
"""Roles that may add and remove other members."""


class _Whose(StrEnum):
    """Which part of the topic must name the principal itself."""

    ANYONE = "anyone"
    LAST_LEVEL = "last_level"
    SCOPE = "scope"


# (action, kind of topic) -> whose topic it must be, and what else must be true. What is absent is denied.
_RULES: dict[tuple[Action, Kind], tuple[_Whose, Need]] = {
    (Action.PUBLISH, Kind.SEND): (_Whose.LAST_LEVEL, Need.MEMBERSHIP),
    (Action.PUBLISH, Kind.ACK): (_Whose.LAST_LEVEL, Need.MEMBERSHIP),
    (Action.PUBLISH, Kind.TYPING): (_Whose.LAST_LEVEL, Need.MEMBERSHIP),
    (Action.SUBSCRIBE, Kind.MESSAGES): (_Whose.ANYONE, Need.MEMBERSHIP),
    (Action.SUBSCRIBE, Kind.RECEIPTS): (_Whose.ANYONE, Need.MEMBERSHIP),
    (Action.SUBSCRIBE, Kind.TYPING): (_Whose.ANYONE, Need.MEMBERSHIP),
    (Action.SUBSCRIBE, Kind.INBOX): (_Whose.SCOPE, Need.NOTHING),
    (Action.PUBLISH, Kind.SYNC): (_Whose.SCOPE, Need.NOTHING),
    (Action.SUBSCRIBE, Kind.PRESENCE): (_Whose.ANYONE, Need.SHARED_CHAT),
    (Action.PUBLISH, Kind.TELEMETRY): (_Whose.SCOPE, Need.NOTHING),
    (Action.SUBSCRIBE, Kind.TELEMETRY): (_Whose.ANYONE, Need.OWNERSHIP),
    (Action.PUBLISH, Kind.COMMANDS): (_Whose.ANYONE, Need.OWNERSHIP),
    (Action.SUBSCRIBE, Kind.COMMANDS): (_Whose.SCOPE, Need.NOTHING),
}


def needs(principal: Principal, action: Action, topic: Topic | None) -> Need | None:
    """What must be known to decide; None when the answer is no whatever the facts are.

    Args:
        principal: who asks.
        action: publish or subscribe.
        topic: the parsed topic or filter; None when it is no row of the contract.
    """
    if principal.kind is PrincipalKind.SERVICE:
        return Need.NOTHING
    rule = _RULES.get((action, topic.kind)) if topic is not None else None
    if topic is None or rule is None:
        return None
    whose, need = rule
    if whose is _Whose.LAST_LEVEL and topic.user != principal.id:
        return None
    if whose is _Whose.SCOPE and topic.scope != principal.id:
        return None
    return need


def allows(principal: Principal, action: Action, topic: Topic | None, facts: Facts) -> bool:
    """Whether `principal` may do `action` on `topic`, given what `needs` asked for."""
    match needs(principal, action, topic):
        case Need.NOTHING:
            return True
        case Need.MEMBERSHIP:
            hushed = facts.blocked and shows_typing(action, topic)
            return not hushed and _member_may(action, topic, facts.member)
        case Need.SHARED_CHAT:
            return facts.shares_chat and not facts.blocked
        case Need.OWNERSHIP:
            return facts.owns_device
        case _:
            return False


def shows_typing(action: Action, topic: Topic | None) -> bool:
    """Whether it is about showing the other of a direct chat that one types: not where one has blocked the other."""
    return action is Action.PUBLISH and topic is not None and topic.kind is Kind.TYPING and is_direct_chat(topic.scope)


def _member_may(action: Action, topic: Topic | None, member: Member | None) -> bool:
    if member is None or member.left_at is not None or topic is None:
        return False
    if action is Action.PUBLISH and topic.kind in (Kind.SEND, Kind.TYPING):
        return member.role in WRITERS
    return True


def may_send(role: Role | None, type_: str) -> bool:
    """Whether a present member in that role may send such an event: who only reads may hide messages from themselves, which nobody else sees.
    (Over REST: to the broker a reader's publish is a publish, whatever is in it.)
    """
    return role in WRITERS or (role is not None and type_ == "hide")


def may_manage_members(member: Member | None) -> bool:
    """Whether this member may add members, or remove members other than themselves."""
    return member is not None and member.left_at is None and member.role in MANAGERS


def may_remove(actor: Member | None, target: Member) -> bool:
    """Whether `actor` may take `target` out: anybody leaves; managers remove others, but nobody removes the owner."""
    if actor is None or actor.left_at is not None:
        return False
    if actor.user == target.user:
        return True
    return actor.role in MANAGERS and target.role is not Role.OWNER


@dataclass(frozen=True, slots=True)
class Ages:
    """How old a message may be when its sender changes it; None for no bound. Those who moderate a group have none.

    Attributes:
        edit: for an edit.
        delete: for a deletion for everyone.
    """

    edit: timedelta | None = timedelta(hours=48)
    delete: timedelta | None = timedelta(hours=48)


def may_edit(sender: str, author: str) -> bool:
    """Whether `sender` may put other words into a message: its author only, whatever their role."""
    return sender == author


def may_delete(sender: str, author: str, role: Role | None) -> bool:
    """Whether `sender` may delete a message for everyone: its author, those who manage a group, and a service of ours for a moderator."""
    return sender == author or role in MANAGERS or is_service(sender)


def may_pin(role: Role | None, *, direct: bool) -> bool:
    """Whether a member may pin and unpin: both in a direct chat, elsewhere those who manage it."""
    return role in WRITERS if direct else role in MANAGERS


def takes(type_: str, *, deleted: bool) -> bool:
    """Whether a message takes an event of this type: a deleted one only what takes something away from it.

    A `reaction` is anybody's who may write, and `unreact` takes away its own sender's only: there is nothing to ask about whose it is.
    """
    return not deleted or type_ in ("delete", "hide", "unpin", "unreact")


def too_old(action: str, age: timedelta, ages: Ages) -> bool:
    """Whether an author's `edit` or `delete` comes too late."""
    limit = {"edit": ages.edit, "delete": ages.delete}.get(action)
    return limit is not None and age > limit


def may_rename(member: Member | None) -> bool:
    """Whether this member may give the chat another title."""
    return may_manage_members(member)


def may_set_retention(member: Member | None) -> bool:
    """Whether this member may say how long the chat keeps what is said in it."""
    return may_manage_members(member)


def may_set_role(actor: Member | None, target: Member) -> bool:
    """Whether `actor` may give `target` another role: the owner may, except to themselves (a chat keeps its owner)."""
    if actor is None or actor.left_at is not None or actor.role is not Role.OWNER:
        return False
    return actor.user != target.user


def may_hand_over(actor: Member | None, target: Member) -> bool:
    """Whether `actor` may make `target` the owner: the owner may, and a thing owns nothing."""
    return may_set_role(actor, target) and not is_device(target.user)


def default_role(kind: ChatKind) -> Role:
    """What those who are brought into a chat become when nobody says otherwise: in a channel they read."""
    return Role.READER if kind is ChatKind.CHANNEL else Role.MEMBER


def may_come_by_link(was: Member | None) -> bool:
    """Whether somebody may come, or ask to, by a link: not who was taken out, whom a manager has to bring back."""
    return was is None or was.removed_by is None


def may_reach(target: User, *, contact: bool, blocked: bool) -> bool:
    """Whether somebody may open a direct chat with `target`, or bring them into a group.

    Args:
        contact: `target` has them among their contacts.
        blocked: `target` has blocked them.
    """
    return not blocked and (target.reachable_by is Circle.EVERYONE or contact)


def shows_profile(target: User, *, contact: bool, blocked: bool) -> bool:
    """Whether somebody sees what `target` says about themselves, and their picture. The name is for all; `contact`, `blocked` as above."""
    return not blocked and (target.profile_for is Circle.EVERYONE or contact)


def may_send_blocked(type_: str) -> bool:
    """Whether somebody may send that in a direct chat in which one has blocked the other: what takes away, and adds nothing."""
    return type_ in ("delete", "hide")


class Rank(IntEnum):
    """What somebody is in administration."""

    USER = 0
    MODERATOR = 1
    ADMIN = 2


def rank(*, admin: bool, moderator: bool) -> Rank:
    """The higher of what somebody is."""
    return Rank.ADMIN if admin else Rank.MODERATOR if moderator else Rank.USER


def rank_of(scopes: frozenset[Scope]) -> Rank:
    """What a program is in administration, by the scopes of its token."""
    return rank(admin=Scope.ADMIN in scopes, moderator=Scope.MODERATE in scopes)


def may_look(scopes: frozenset[Scope]) -> bool:
    """Whether a program may see what administrators see, whatever its rank."""
    return Scope.ADMIN_READ in scopes


def may_sanction(actor: Rank, target: Rank, *, oneself: bool) -> bool:
    """Whether somebody may be suspended, shadow-banned, signed out or let in again: by moderators those below them, by
    administrators anybody, and nobody by themselves (an installation must not lose its last administrator by a slip).
    """
    if oneself or actor < Rank.MODERATOR:
        return False
    return actor is Rank.ADMIN or target < actor


def may_ban(actor: Rank, target: Rank, *, oneself: bool) -> bool:
    """Whether somebody may be banned, or a ban lifted: administrators only."""
    return actor is Rank.ADMIN and may_sanction(actor, target, oneself=oneself)


def may_moderate(actor: Rank) -> bool:
    """Whether they may delete any message of any chat for everyone."""
    return actor >= Rank.MODERATOR
