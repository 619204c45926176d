"""What is checked of a CONNECT beside the credentials, before anything of its session is touched."""

from __future__ import annotations

import secrets

from broker.core import Core
from broker.policy import Action, Identity, LoginRefused
from broker.publishing import valid_payload, valid_response_topic
from mqtt.codec import V311
from mqtt.packets import Connect, Will
from mqtt.reasons import Reason

_LONGEST_NAME = 65_535 - 64
"""Bytes of a name that a client id can be made from: a string of MQTT ends at 65,535 (5.0 §1.5.4)."""


def assigned_client_id(connect: Connect, certificate: str | None) -> str | None:
    """The client id that we choose for a client that brought none [MQTT-3.1.3-6, -7]; None for one that did.

    Raises:
        LoginRefused: it may have none, or wants an authentication that is not offered.
    """
    if "authentication_method" in connect.properties:
        raise LoginRefused(Reason.BAD_AUTHENTICATION_METHOD, "enhanced authentication is not offered")
    if connect.client_id:
        return None
    if connect.version == V311 and not connect.clean_start:  # 3.1.1 [MQTT-3.1.3-8]
        raise LoginRefused(Reason.CLIENT_IDENTIFIER_NOT_VALID, "a session that stays needs a client id")
    name = connect.username or certificate or "anonymous"
    if len(name.encode()) > _LONGEST_NAME:
        raise LoginRefused(Reason.CLIENT_IDENTIFIER_NOT_VALID, "no client id can be made from so long a name")
    connect.client_id = f"{name}:auto-{secrets.token_hex(8)}"
    return connect.client_id


async def check_will(core: Core, identity: Identity, will: Will | None) -> None:
    """That a will may be published, as far as that can be said now; when it is due, it is asked again.

    Raises:
        LoginRefused: it may not.
        Undecided: it can't be found out now.
    """
    if will is None:
        return
    limits = core.limits
    if will.topic.startswith("$") and not identity.service:
        raise LoginRefused(Reason.NOT_AUTHORIZED, "topics that begin with $ are the broker's own")
    if len(will.topic) > limits.topic_length or will.topic.count("/") >= limits.topic_levels:
        raise LoginRefused(Reason.TOPIC_NAME_INVALID, "the will's topic is too long or too deep")
    if not valid_response_topic(will.properties):
        raise LoginRefused(Reason.TOPIC_NAME_INVALID, "the will's response topic holds a wildcard")
    if not valid_payload(will.properties, will.payload):
        raise LoginRefused(Reason.PAYLOAD_FORMAT_INVALID, "the will's payload is not the UTF-8 that it says it is")
    (granted,) = await core.policy.decide(Action.PUBLISH, [(identity, will.topic)])
    if not granted:
        raise LoginRefused(Reason.NOT_AUTHORIZED, "not authorized to publish the will")
