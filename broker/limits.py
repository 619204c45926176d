"""Every bound of the broker in one place, with its default and the reason for it (promise P8).

Each is a setting: `PABAL_BROKER_LIMIT_…`. What a limit refuses or drops is counted in `broker/stats.py`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds per packet, connection, session and process. Times are seconds, sizes bytes."""

    max_packet: int = 256 * 1024
    """Remaining Length taken from an authenticated client: a 64 KiB chat message with room for its properties, four times."""
    max_connect_packet: int = 32 * 1024
    """The same before authentication: a CONNECT with a token and a will; a thousand strangers get 32 MiB of our memory."""
    connect_timeout: float = 10.0
    """From the first byte of the connection to a whole CONNECT."""
    keep_alive_max: int = 600
    """A longer keep alive (or none) is lowered to this for MQTT 5, so that dead connections are found."""
    receive_maximum: int = 1_000
    """QoS 1 and 2 publishes that a client may have unanswered: at 1 KiB each, a megabyte per connection at the most."""
    service_receive_maximum: int = 20_000
    """The same for our own services: the bridge fans out for everybody."""
    window: int = 1_000
    """QoS 1 and 2 messages under way to one client that names no receive maximum of its own (3.1.1 can't)."""
    topic_alias_maximum: int = 16
    """Topic aliases of one connection, each way: with the longest topics some 64 KiB, and most clients repeat few topics."""
    queue: int = 1_000
    """Messages waiting for one session, connected or away; what overflows heals by sync."""
    subscriptions: int = 5_000
    """Filters per session: a member of 2,000 chats needs two for each."""
    topic_length: int = 1_024
    """Characters of a topic or filter: the contract needs about 150, and caches hold thousands of them."""
    topic_levels: int = 32
    """Levels of a topic or filter: the contract needs five."""
    filters_per_subscribe: int = 5_000
    """Filters in one SUBSCRIBE: all of a session's at once."""
    session_expiry_max: int = 7 * 86_400
    """A session that nobody comes back to is forgotten after a week."""
    session_expiry_v311: int = 86_400
    """MQTT 3.1.1 can't say how long a session without `clean session` shall live."""
    sessions: int = 1_000_000
    """Sessions without a connection that are kept; beyond, a new one ends with its connection."""
    retained: int = 100_000
    """Topics with a retained message."""
    connections: int = 15_000
    """Open connections: below the limit on open files, with room for our own."""
    address_rate: float = 500.0
    """Sockets per second from one address, in the long run; 0 for any number. Each may cost a handshake and two look-ups,
    which is about what one core does in a second; a thousand phones behind one address never come so fast."""
    address_burst: int = 15_000
    """Sockets at once from one address: behind a proxy that is everybody, after a restart."""
    write_buffer: int = 1024 * 1024
    """Unsent bytes of one connection (four of the largest packets): with more, QoS 0 is dropped and nothing is read from the client."""
    write_timeout: float = 30.0
    """How long a client may leave that much unread before it is disconnected."""
    write_buffer_total: int = 512 * 1024 * 1024
    """Unsent bytes of all connections together; beyond it those with the most are cut. 15,000 clients may have 35 KiB each unread
    at once, which a fan-out to everybody needs, and the process stays well below a gigabyte."""
    ingest_queue: int = 20_000
    """Messages waiting for the bridge before publishers are no longer read."""
    ingest_wait: float = 5.0
    """How long an MQTT 3.1.1 publisher waits for a bridge that isn't there before it is disconnected to try again."""
    presence_grace: float = 2.0
    """Who is back so soon was never away: a phone that changes from one network to another tells nobody anything."""
    presence_rate: int = 1_000
    """States of presence that are told to people per second: each goes to everybody who watches that user. When ten thousand
    reconnect, the last of them is shown ten seconds later, and chat messages are not held up meanwhile."""
    grants_cached: int = 5_000
    """Decisions remembered per session."""


DEFAULTS = Limits()
