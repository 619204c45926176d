"""The Python SDK, on paho-mqtt 2 (MQTT 5, or 3.1.1) and httpx.

    from clients.python import ChatClient, PabalApi

    api = PabalApi("http://127.0.0.1:8080")
    api.login("haneul", "…")
    with ChatClient("127.0.0.1", 1883, user="haneul", token=api.token) as client:
        client.join(chat, cursor=0)
        client.send(chat, text="안녕하세요")          # returns when it is stored
        for event in client.events(timeout=5):       # in order, without repeats and holes
            client.seen(chat, event.seq)

| | |
|---|---|
| `PabalApi` | REST: accounts, tokens, chats, members, history, devices, push tokens |
| `ChatClient` | MQTT for people: outbox, resume, order, receipts, sync |
| `Device` | MQTT for things: plain bytes, 3.1.1 |

The errors are in `clients.python.errors`, what REST answers in `clients.python.records`.
"""

from clients.python.api import PabalApi
from clients.python.client import ChatClient
from clients.python.device import Device
from clients.python.errors import (
    ApiError,
    ClientError,
    Closed,
    ConnectRefused,
    ConnectTimeout,
    JoinRefused,
    JoinTimeout,
    OutboxFull,
    SendRefused,
    SendTimeout,
    Unreachable,
)
from clients.python.outbox import Sent, Slowed
from clients.python.reading import Presence, Typing
from clients.python.session import Connection, Limits
from clients.python.timeline import Restart

__all__ = [
    "ApiError",
    "ChatClient",
    "ClientError",
    "Closed",
    "ConnectRefused",
    "ConnectTimeout",
    "Connection",
    "Device",
    "JoinRefused",
    "JoinTimeout",
    "Limits",
    "OutboxFull",
    "PabalApi",
    "Presence",
    "Restart",
    "SendRefused",
    "SendTimeout",
    "Sent",
    "Slowed",
    "Typing",
    "Unreachable",
]
