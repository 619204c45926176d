"""The topic table of `chat.topics` as questions with their answers, for every broker that is asked or asks."""

from __future__ import annotations


def matrix(
    chat: str, device: str, haneul: str = "haneul", bada: str = "bada.kim", byeol: str = "byeol"
) -> list[tuple[str, str, str, bool]]:
    """(who, action, topic, allowed): the rows of the topic table, for a member, an outsider, a device and a service."""
    rows = [
        (haneul, "publish", f"chats/{chat}/send/{haneul}", True),
        (haneul, "publish", f"chats/{chat}/send/{bada}", False),
        (bada, "publish", f"chats/{chat}/send/{bada}", True),
        (byeol, "publish", f"chats/{chat}/send/{byeol}", False),
        (haneul, "publish", f"chats/{chat}/messages", False),
        (haneul, "publish", f"chats/{chat}/receipts", False),
        (haneul, "publish", f"chats/{chat}/ack/{haneul}", True),
        (haneul, "publish", f"chats/{chat}/typing/{haneul}", True),
        (haneul, "publish", f"chats/{chat}/typing/+", False),
        (haneul, "publish", f"chats/unknown/send/{haneul}", False),
        (haneul, "publish", f"users/{haneul}/sync", True),
        (haneul, "publish", f"users/{bada}/sync", False),
        (haneul, "publish", f"users/{haneul}/inbox", False),
        (haneul, "publish", f"users/{haneul}/presence", False),
        (haneul, "publish", f"devices/{device}/commands/set", True),
        (byeol, "publish", f"devices/{device}/commands/set", False),
        (haneul, "publish", "$events/connected", False),
        (haneul, "publish", "somewhere/else", False),
        (haneul, "subscribe", f"chats/{chat}/messages", True),
        (bada, "subscribe", f"chats/{chat}/messages", True),
        (byeol, "subscribe", f"chats/{chat}/messages", False),
        (haneul, "subscribe", f"chats/{chat}/receipts", True),
        (haneul, "subscribe", f"chats/{chat}/typing/+", True),
        (byeol, "subscribe", f"chats/{chat}/typing/+", False),
        (haneul, "subscribe", f"chats/{chat}/send/{haneul}", False),
        (haneul, "subscribe", f"chats/{chat}/+", False),
        (haneul, "subscribe", "chats/+/messages", False),
        (haneul, "subscribe", "#", False),
        (haneul, "subscribe", "+/+/messages", False),
        (haneul, "subscribe", f"users/{haneul}/inbox", True),
        (bada, "subscribe", f"users/{bada}/inbox", True),
        (haneul, "subscribe", f"users/{bada}/inbox", False),
        (haneul, "subscribe", "users/+/inbox", False),
        (haneul, "subscribe", f"users/{bada}/presence", True),
        (haneul, "subscribe", f"users/{byeol}/presence", False),
        (haneul, "subscribe", f"devices/{device}/telemetry/#", True),
        (byeol, "subscribe", f"devices/{device}/telemetry/#", False),
        (haneul, "subscribe", "$SYS/#", False),
        ("nobody", "subscribe", "users/nobody/inbox", False),
        ("svc-bridge", "subscribe", "chats/+/send/+", True),
        ("svc-bridge", "publish", f"chats/{chat}/messages", True),
        ("svc-bridge", "publish", "chats/+/messages", False),
        ("svc-ghost", "subscribe", "#", False),
        (device, "publish", f"devices/{device}/telemetry/temp", True),
        (device, "subscribe", f"devices/{device}/commands/#", True),
        (device, "publish", f"devices/{device}/commands/set", False),
        (device, "publish", f"chats/{chat}/send/{device}", False),
    ]
    assert {row[3] for row in rows} == {True, False}
    return rows
