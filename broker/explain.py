"""Why: the properties of an answer that say more than its reason code."""

from __future__ import annotations

from mqtt.packets import Properties


def explained(detail: str, server_reference: str = "", *, code: str = "") -> Properties:
    """Properties for MQTT 5; what is empty is left out.

    Args:
        detail: one sentence, the reason string.
        server_reference: where else to go (5.0 §4.11).
        code: a stable code of `chat.errors`, as the user property `code`: the bridge's refusals carry theirs there too.
    """
    properties: Properties = {}
    if server_reference:
        properties["server_reference"] = server_reference
    if detail:
        properties["reason_string"] = detail
    if code:
        properties["user_property"] = [("code", code)]
    return properties
