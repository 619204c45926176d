"""The answers: the same authenticator and the same rules as the broker's (`broker.chat_policy`), asked by name.

After the login a broker tells only the name of the client, not what it proved. So each question asks anew whether that name is
welcome: who is banned is refused at once. Whether a sign-in has ended can only be seen where the broker keeps its `sid` (EMQX).
"""

from __future__ import annotations

from adapters.facts import facts
from chat import permissions, topics
from chat.errors import Unauthenticated
from chat.ids import is_device, is_principal, is_service, owns_client_id
from chat.models import Principal, PrincipalKind
from chat.people_stores import BlockStore
from chat.permissions import Action
from chat.ports import Authenticator, ChatStore, DeviceStore, GrantStore

TOPIC_EXCHANGE = "amq.topic"
"""Where RabbitMQ's MQTT plugin publishes and subscribes."""

_QUEUE_PREFIX = "mqtt-subscription-"
_QUEUE_SUFFIXES = ("qos0", "qos1")


class HookService:
    """Whom to let in, and what they may.

    Args:
        vhost: the one virtual host of RabbitMQ that anybody may use.
    """

    def __init__(
        self,
        *,
        authenticator: Authenticator,
        chats: ChatStore,
        devices: DeviceStore,
        grants: GrantStore,
        blocks: BlockStore,
        vhost: str,
    ) -> None:
        self._authenticator = authenticator
        self._chats = chats
        self._devices = devices
        self._grants = grants
        self._blocks = blocks
        self._vhost = vhost

    async def login(self, username: str, password: str, client_id: str | None) -> Principal | None:
        """Who that is; None: nobody, or under a client id that is not theirs.

        Args:
            client_id: None where the protocol has none.

        Raises:
            Unavailable: a store does not answer.
        """
        try:
            principal = await self._authenticator.authenticate(username, password.encode("utf-8", "surrogatepass"))
        except Unauthenticated:
            return None
        return principal if client_id is None or owns_client_id(principal.id, client_id) else None

    async def may(self, username: str, action: Action, topic: str, *, sid: str = "") -> bool:
        """Whether `username` may do that now.

        Args:
            topic: a topic, or for SUBSCRIBE a filter.
            sid: the sign-in that the client came with, where the broker knows it.

        Raises:
            Unavailable: a store does not answer.
        """
        wildcard = "+" in topic or "#" in topic
        if (action is Action.PUBLISH and wildcard) or not await self.welcome(username):
            return False
        if sid and sid not in await self._grants.alive([sid]):
            return False
        principal, parsed = _principal(username), topics.parse(topic)
        found = await facts(principal, action, parsed, chats=self._chats, devices=self._devices, blocks=self._blocks)
        return permissions.allows(principal, action, parsed, found)

    async def welcome(self, username: str) -> bool:
        """Whether there is such a user, device or service, and not disabled."""
        return is_principal(username) and username in await self._authenticator.welcome({username})

    async def may_enter(self, username: str, vhost: str) -> bool:
        """Whether that virtual host is ours and the name is welcome."""
        return vhost == self._vhost and await self.welcome(username)

    async def may_use(self, username: str, vhost: str, resource: str, name: str, permission: str) -> bool:
        """What an MQTT client needs in RabbitMQ, and no more: the topic exchange, and the queues of its own client ids."""
        if not await self.may_enter(username, vhost):
            return False
        if resource == "exchange":
            return name == TOPIC_EXCHANGE and permission in {"read", "write"}
        return resource == "queue" and _owns_queue(username, name)

    async def may_route(self, username: str, vhost: str, exchange: str, permission: str, routing_key: str) -> bool:
        """Whether a publish (`write`) or a binding (`read`) of that key is allowed."""
        topic = topics.from_routing_key(routing_key)
        actions = {"write": Action.PUBLISH, "read": Action.SUBSCRIBE}
        if topic is None or exchange != TOPIC_EXCHANGE or permission not in actions or vhost != self._vhost:
            return False
        return await self.may(username, actions[permission], topic)


def _owns_queue(username: str, queue: str) -> bool:
    """Whether the queue belongs to a client id of `username`: `mqtt-subscription-{client id}qos{0 or 1}`."""
    if not queue.startswith(_QUEUE_PREFIX) or not queue.endswith(_QUEUE_SUFFIXES):
        return False
    return owns_client_id(username, queue[len(_QUEUE_PREFIX) : -len(_QUEUE_SUFFIXES[0])])


def _principal(username: str) -> Principal:
    if is_service(username):
        return Principal(username, PrincipalKind.SERVICE)
    return Principal(username, PrincipalKind.DEVICE if is_device(username) else PrincipalKind.USER)
