"""Topics: the contract with every client. No other file builds or parses a topic string.

| topic | who publishes | who subscribes | QoS |
|---|---|---|---|
| `chats/{chat}/send/{user}` | that member (or device) | the bridge | 1 (2 allowed) |
| `chats/{chat}/messages` | the bridge | members | 1 |
| `chats/{chat}/ack/{user}` | that member: `{"delivered": seq}` or `{"seen": seq}` | the bridge | 1 |
| `chats/{chat}/receipts` | the bridge: watermark changes, coalesced | members | 1 |
| `chats/{chat}/typing/{user}` | that member | members, as `chats/{chat}/typing/+` | 0 |
| `users/{user}/inbox` | the bridge: invitations, rejections, sync pages, resets, events and receipts for that user alone | that user | 1 |
| `users/{user}/sync` | that user: cursors | the bridge | 1 |
| `users/{user}/presence` | the broker, retained | people who share a chat with them | 0 |
| `devices/{device}/telemetry/#` | that device | its owners, services | 0, 1 |
| `devices/{device}/commands/#` | its owners, services | that device | 1 |
| `$events/{delivered,connected,disconnected}` | the broker | services only | 1 |
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from chat.ids import is_chat_id, is_device, is_principal


class Kind(StrEnum):
    """The rows of the table above."""

    SEND = "send"
    MESSAGES = "messages"
    ACK = "ack"
    RECEIPTS = "receipts"
    TYPING = "typing"
    INBOX = "inbox"
    SYNC = "sync"
    PRESENCE = "presence"
    TELEMETRY = "telemetry"
    COMMANDS = "commands"
    EVENTS = "events"


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic (or a filter that the table allows) taken apart.

    Attributes:
        kind: its row in the table.
        scope: the chat, user or device id of the second level; the event's name for `$events/…`.
        user: the last level of `send`, `ack` and `typing`; `+` for the filter `chats/{chat}/typing/+`, else None.
        rest: what stands behind `telemetry` or `commands` (may hold wildcards when it came from a filter).
    """

    kind: Kind
    scope: str
    user: str | None = None
    rest: str | None = None


_CHAT_WITH_USER = {Kind.SEND.value: Kind.SEND, Kind.ACK.value: Kind.ACK, Kind.TYPING.value: Kind.TYPING}
_CHAT_PLAIN = {Kind.MESSAGES.value: Kind.MESSAGES, Kind.RECEIPTS.value: Kind.RECEIPTS}
_USER = {Kind.INBOX.value: Kind.INBOX, Kind.SYNC.value: Kind.SYNC, Kind.PRESENCE.value: Kind.PRESENCE}
_DEVICE = {Kind.TELEMETRY.value: Kind.TELEMETRY, Kind.COMMANDS.value: Kind.COMMANDS}
_EVENT_NAMES = frozenset({"delivered", "connected", "disconnected"})

# What the bridge asks for, and so what waits for its PUBACK: a chat sticks to one member of the share group.
SHARE_GROUP = "bridge"
INGEST_FILTERS = ("chats/+/send/+", "chats/+/ack/+", "users/+/sync")

JSON_CONTENT_TYPE = "application/json"
"""Of envelopes, said or unsaid. What says that it is something else is plain, and is wrapped."""


def shared(filter_: str, group: str = SHARE_GROUP) -> str:
    """The shared subscription `$share/{group}/{filter}`."""
    return f"$share/{group}/{filter_}"


def parse(topic: str) -> Topic | None:
    """Take a topic apart; None when it is no row of the table (and so is denied to everybody but services).

    Also takes the only filters that people may use: `chats/{chat}/typing/+` and those below a device.
    """
    levels = topic.split("/")
    match levels:
        case ["chats", chat, word] if word in _CHAT_PLAIN and is_chat_id(chat):
            return Topic(_CHAT_PLAIN[word], chat)
        case ["chats", chat, word, user] if word in _CHAT_WITH_USER and is_chat_id(chat):
            if is_principal(user) or (user == "+" and word == Kind.TYPING.value):
                return Topic(_CHAT_WITH_USER[word], chat, user=user)
        case ["users", user, word] if word in _USER and is_principal(user):
            return Topic(_USER[word], user)
        case ["devices", device, word, *rest] if word in _DEVICE and is_device(device) and is_principal(device):
            return Topic(_DEVICE[word], device, rest="/".join(rest))
        case ["$events", name] if name in _EVENT_NAMES:
            return Topic(Kind.EVENTS, name)
    return None


def from_routing_key(key: str) -> str | None:
    """The topic (or filter) behind an AMQP routing key, as RabbitMQ's MQTT plugin writes it: `/` became `.`, `+` became `*`.

    Handles may hold `.` themselves, so the levels of a fixed number are cut from both ends. A device id with a `.` can't be told
    from what stands behind it: its topics come out as no row of the table. None for keys that no MQTT client has made.
    """
    if "/" in key or "+" in key:
        return None
    levels = key.replace("*", "+").split(".")
    match levels:
        case ["chats", chat, word, *user] if user:
            return "/".join(("chats", chat, word, ".".join(user)))
        case ["users", *user, word]:
            return "/".join(("users", ".".join(user), word))
        case _:
            return "/".join(levels)


def send(chat: str, user: str) -> str:
    """Where `user` publishes new messages of `chat`."""
    return f"chats/{chat}/send/{user}"


def messages(chat: str) -> str:
    """Where members of `chat` receive its events, in order of `seq`."""
    return f"chats/{chat}/messages"


def ack(chat: str, user: str) -> str:
    """Where `user` tells what they have received and seen of `chat`."""
    return f"chats/{chat}/ack/{user}"


def receipts(chat: str) -> str:
    """Where members of `chat` see each other's watermarks move."""
    return f"chats/{chat}/receipts"


def typing(chat: str, user: str = "+") -> str:
    """Where `user` tells that they are typing; with the default, the filter for everybody in the chat."""
    return f"chats/{chat}/typing/{user}"


def inbox(user: str) -> str:
    """Where the system answers `user`: rejections, invitations, sync pages, resets."""
    return f"users/{user}/inbox"


def sync(user: str) -> str:
    """Where `user` sends cursors and asks for what they missed."""
    return f"users/{user}/sync"


def presence(user: str) -> str:
    """Where the broker tells, retained, whether `user` is connected."""
    return f"users/{user}/presence"


def telemetry(device: str, rest: str = "#") -> str:
    """Where a device publishes readings; with the default, the filter for all of them."""
    return f"devices/{device}/telemetry/{rest}"


def commands(device: str, rest: str = "#") -> str:
    """Where a device is told what to do; with the default, the filter for all of it."""
    return f"devices/{device}/commands/{rest}"


def event(name: str) -> str:
    """Where the broker tells services of `delivered`, `connected` and `disconnected`."""
    return f"$events/{name}"
