"""What other brokers ask, as their documents describe it. Unknown fields are ignored: each version of a broker brings its own.

| broker | hook | body |
|---|---|---|
| EMQX 5 | HTTP authenticator, HTTP authorizer | JSON or a form, from a template in its configuration |
| RabbitMQ | `rabbitmq_auth_backend_http`: user, vhost, resource, topic | a form |
| VerneMQ | webhooks `auth_on_register`, `auth_on_subscribe`, `auth_on_publish` and their `_m5` variants | JSON |
"""

from __future__ import annotations

from typing import Literal

import msgspec


class EmqxLogin(msgspec.Struct):
    """`/internal/mqtt/authn`. All three are asked for: a client id that is not told can't be checked."""

    username: str
    password: str
    clientid: str


class EmqxAction(msgspec.Struct):
    """`/internal/mqtt/authz`.

    Attributes:
        topic: the topic, or the filter without `$share/…`.
        sid: `${client_attrs.sid}`, which authn has given to users; empty or `undefined` when the broker knows none.
    """

    username: str
    topic: str
    action: Literal["publish", "subscribe"]
    sid: str = ""


class RabbitUser(msgspec.Struct):
    """`user_path`. The client id comes from the MQTT plugin; an AMQP client has none."""

    username: str
    password: str
    client_id: str | None = None


class RabbitVhost(msgspec.Struct):
    """`vhost_path`."""

    username: str
    vhost: str


class RabbitResource(msgspec.Struct):
    """`resource_path`."""

    username: str
    vhost: str
    resource: Literal["exchange", "queue", "topic"]
    name: str
    permission: Literal["configure", "write", "read"]


class RabbitTopic(RabbitResource):
    """`topic_path`. `name` is the exchange's."""

    routing_key: str


class VerneRegister(msgspec.Struct):
    """`auth_on_register`, `auth_on_register_m5`."""

    username: str
    password: str
    client_id: str


class VerneTopic(msgspec.Struct):
    """One filter of a SUBSCRIBE."""

    topic: str
    qos: int


class VerneSubscribe(msgspec.Struct):
    """`auth_on_subscribe`, `auth_on_subscribe_m5`."""

    username: str
    topics: list[VerneTopic]


class VernePublish(msgspec.Struct):
    """`auth_on_publish`, `auth_on_publish_m5`. The payload is not looked at."""

    username: str
    topic: str
