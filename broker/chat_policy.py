"""Pabal's policy: the rules of `chat.permissions` on facts from the stores."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import msgspec

from adapters.facts import facts
from broker.policy import Action, Identity, Login, LoginRefused, Notice, Undecided
from chat import permissions, topics
from chat.envelopes import Reject, encode
from chat.errors import Forbidden, Unauthenticated, Unavailable
from chat.ids import is_device, is_service, owns_client_id
from chat.models import Principal, PrincipalKind
from chat.people_stores import BlockStore
from chat.permissions import Need
from chat.ports import Authenticator, ChatStore, DeviceStore, GrantStore
from chat.topics import Kind, Topic
from mqtt.reasons import Reason

_ACTIONS = {Action.PUBLISH: permissions.Action.PUBLISH, Action.SUBSCRIBE: permissions.Action.SUBSCRIBE}
_CHAT_KINDS = frozenset({Kind.SEND, Kind.MESSAGES, Kind.ACK, Kind.RECEIPTS, Kind.TYPING})
_CACHE_TOPICS = 65_536


class _Id(msgspec.Struct):
    """The one field of a refused envelope that its sender needs back."""

    id: str


class ChatPolicy:
    """The policy of a Pabal broker."""

    def __init__(
        self,
        authenticator: Authenticator,
        chats: ChatStore,
        devices: DeviceStore,
        grants: GrantStore,
        blocks: BlockStore,
    ) -> None:
        self._authenticator = authenticator
        self._chats = chats
        self._devices = devices
        self._grants = grants
        self._blocks = blocks
        self._scopes: dict[str, str] = {}

    async def login(self, login: Login) -> Identity:
        """Check the credentials, then that the client id belongs to whom they prove."""
        login.check_certificate()
        try:
            if login.certificate is None:
                principal = await self._authenticator.authenticate(login.username, login.password)
            else:
                principal = await self._authenticator.certified(login.certificate, login.password)
        except Unauthenticated as error:
            raise LoginRefused(Reason.BAD_USER_NAME_OR_PASSWORD, f"{error.code}: {error.reason}") from None
        except Unavailable:
            raise LoginRefused(Reason.SERVER_UNAVAILABLE, "credentials can't be checked now: try again") from None
        if not owns_client_id(principal.id, login.client_id):
            detail = "the client id is not yours: use your name, or your name, ':' and an instance"
            raise LoginRefused(Reason.CLIENT_IDENTIFIER_NOT_VALID, detail)
        service = principal.kind is PrincipalKind.SERVICE
        return Identity(principal.id, service=service, grant=principal.sid, announce=not service)

    def absent(self, principal: str, client_id: str, *, service: bool) -> Identity:  # noqa: ARG002 - the port's shape
        """Its principal: what it may is asked about that."""
        return Identity(principal, service=service)

    def known(self, identity: Identity, action: Action, topic: str) -> bool | None:
        """The answer when the topic and the principal alone decide."""
        match permissions.needs(_principal(identity), _ACTIONS[action], topics.parse(topic)):
            case None:
                return False
            case Need.NOTHING:
                return True
            case _:
                return None

    async def decide(self, action: Action, asked: Sequence[tuple[Identity, str]]) -> list[bool]:
        """Ask the stores: one query for all memberships of subscriptions, one look-up each for the rest."""
        parsed = [(identity, topics.parse(text)) for identity, text in asked]
        try:
            pairs = {(topic.scope, who.id) for who, topic in parsed if self._by_pair(who, action, topic) and topic}
            present = await self._chats.memberships_among(sorted(pairs)) if pairs else set()
            return [await self._one(who, action, topic, present) for who, topic in parsed]
        except Unavailable as error:
            raise Undecided(error.reason) from None

    @staticmethod
    def _by_pair(identity: Identity, action: Action, topic: Topic | None) -> bool:
        """Whether being a member is all that matters: who listens needs no role."""
        need = permissions.needs(_principal(identity), _ACTIONS[action], topic)
        return action is Action.SUBSCRIBE and need is Need.MEMBERSHIP

    async def _one(
        self, identity: Identity, action: Action, topic: Topic | None, present: set[tuple[str, str]]
    ) -> bool:
        principal = _principal(identity)
        if self._by_pair(identity, action, topic) and topic is not None:
            return (topic.scope, identity.id) in present
        found = await facts(
            principal, _ACTIONS[action], topic, chats=self._chats, devices=self._devices, blocks=self._blocks
        )
        return permissions.allows(principal, _ACTIONS[action], topic, found)

    def scope(self, topic: str) -> str:
        """The chat that a topic or filter is about."""
        scope = self._scopes.get(topic)
        if scope is None:
            parsed = topics.parse(topic)
            scope = parsed.scope if parsed is not None and parsed.kind in _CHAT_KINDS else ""
            if len(self._scopes) >= _CACHE_TOPICS:
                self._scopes.clear()
            self._scopes[topic] = scope
        return scope

    def notice(self, identity: Identity, topic: str, payload: bytes, reason: str) -> Notice | None:
        """A rejection on the sender's inbox: an MQTT 3.1.1 client learns of a refusal in no other way."""
        parsed = topics.parse(topic)
        if identity.service or parsed is None or parsed.kind is not Kind.SEND:
            return None
        try:
            message_id = msgspec.json.decode(payload, type=_Id).id
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            message_id = None
        reject = Reject(code=Forbidden.code, reason=reason, id=message_id, chat=parsed.scope)
        return Notice(topics.inbox(identity.id), encode(reject), reject.code)

    async def welcome(self, principals: Collection[str]) -> set[str]:
        """One query for users, one for devices."""
        try:
            return await self._authenticator.welcome(principals)
        except Unavailable as error:
            raise Undecided(error.reason) from None

    async def alive(self, grants: Iterable[str]) -> set[str]:
        """One query for all."""
        try:
            return await self._grants.alive(sorted(grants))
        except Unavailable as error:
            raise Undecided(error.reason) from None


def _principal(identity: Identity) -> Principal:
    if is_service(identity.id):
        kind = PrincipalKind.SERVICE
    elif is_device(identity.id):
        kind = PrincipalKind.DEVICE
    else:
        kind = PrincipalKind.USER
    return Principal(identity.id, kind, sid=identity.grant)
