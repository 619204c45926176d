"""`House`: a broker and bridge in one thread per connection, small enough to misbehave on demand.

It keeps the contract of `chat.topics` for any number of chats and clients, and can be told to refuse, to keep silent, to lose live
events, and to cut connections. What the real ones do is tested in tests/e2e.
"""

from __future__ import annotations

import socket
import threading
from collections import defaultdict, deque
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from chat import topics
from chat.envelopes import Event, Reject, Reset, Send, SyncDone, SyncRequest, decode, encode
from chat.models import Head
from chat.sync import page, reset_reason
from mqtt.codec import Decoder
from mqtt.codec import encode as to_bytes
from mqtt.packets import (
    ConnAck,
    Connect,
    Disconnect,
    Packet,
    PingReq,
    PingResp,
    PubAck,
    Publish,
    SubAck,
    Subscribe,
    UnsubAck,
    Unsubscribe,
)

CHAT = "g-1"
AT = datetime(2026, 5, 4, tzinfo=UTC)


class Peer:
    """One connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.decoder = Decoder()
        self.client_id = ""
        self.next_id = 1

    def write(self, packet: Packet) -> None:
        self.sock.sendall(to_bytes(packet, self.decoder.version))

    def deliver(self, topic: str, payload: bytes) -> None:
        self.next_id = self.next_id % 65_535 + 1
        self.write(Publish(topic, payload, qos=1, packet_id=self.next_id))

    def cut(self) -> None:
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # gone already


class House:
    """See the module. `connects`, `sends`, `acks`, `syncs` and `subscribed` record what came."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.events: dict[str, list[Event]] = defaultdict(list)
        self.first: dict[str, int] = {}  # the oldest seq that is still stored
        self.connects: list[Connect] = []
        self.sends: list[Publish] = []
        self.acks: list[tuple[str, bytes]] = []
        self.syncs: list[SyncRequest] = []
        self.subscribed: list[str] = []
        self.refuse_connect: deque[int] = deque()
        self.answers: deque[PubAck | Reject | None] = deque()  # to the next sends; None: keep silent
        self.lost: set[int] = set()  # seq that are not delivered live
        self.silent_syncs = 0
        self.denied: set[str] = set()  # filters
        self._sessions: dict[str, set[str]] = {}
        self._peers: list[Peer] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join()

    def cut(self) -> None:
        """Drop every connection."""
        with self.lock:
            for peer in self._peers:
                peer.cut()
            self._peers.clear()

    def say_goodbye(self, reason: int) -> None:
        """DISCONNECT from the server."""
        with self.lock:
            for peer in self._peers:
                peer.write(Disconnect(reason))

    def forget_sessions(self) -> None:
        with self.lock:
            self._sessions.clear()

    def store(self, chat: str = CHAT, count: int = 1, *, sender: str = "bada") -> None:
        """Events of somebody else."""
        for _ in range(count):
            self.accept(chat, Send(id=f"{chat}-{len(self.events[chat]) + 1}"), sender)

    def accept(self, chat: str, send: Send, sender: str) -> None:
        with self.lock:
            known = next((event for event in self.events[chat] if event.id == send.id), None)
            if known is None:
                seq = len(self.events[chat]) + 1
                known = Event("message", send.id, chat, seq, seq, sender, AT, body=send.body)
                self.events[chat].append(known)
            if known.seq not in self.lost:
                self.fan_out(topics.messages(chat), encode(known))

    def fan_out(self, topic: str, payload: bytes) -> None:
        """To every connection that subscribed."""
        with self.lock:
            for peer in self._peers:
                if topic in self._sessions.get(peer.client_id, ()):
                    peer.deliver(topic, payload)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(Peer(sock),))
            self._threads.append(thread)
            thread.start()

    def _serve(self, peer: Peer) -> None:
        try:
            while data := peer.sock.recv(65_536):
                for packet in peer.decoder.feed(data):
                    with self.lock:
                        self._take(peer, packet)
        except OSError:
            pass  # cut by a test, or by its client
        finally:
            with self.lock:
                if peer in self._peers:
                    self._peers.remove(peer)
            peer.sock.close()

    def _take(self, peer: Peer, packet: Packet) -> None:
        match packet:
            case Connect():
                self._connect(peer, packet)
            case Subscribe():
                codes = [0x87 if one.topic_filter in self.denied else one.qos for one in packet.filters]
                granted = {one.topic_filter for one in packet.filters} - self.denied
                self.subscribed += [one.topic_filter for one in packet.filters]
                self._sessions[peer.client_id] |= granted
                peer.write(SubAck(packet.packet_id, codes))
            case Unsubscribe():
                self._sessions[peer.client_id] -= set(packet.filters)
                peer.write(UnsubAck(packet.packet_id, [0] * len(packet.filters)))
            case Publish():
                self._publish(peer, packet)
            case PingReq():
                peer.write(PingResp())
            case Disconnect():
                peer.cut()

    def _connect(self, peer: Peer, packet: Connect) -> None:
        self.connects.append(packet)
        if self.refuse_connect:
            peer.write(ConnAck(session_present=False, reason=self.refuse_connect.popleft()))
            peer.cut()
            return
        peer.client_id = packet.client_id
        present = not packet.clean_start and packet.client_id in self._sessions
        if not present:
            self._sessions[packet.client_id] = set()
        self._peers.append(peer)
        peer.write(ConnAck(session_present=present, reason=0))

    def _publish(self, peer: Peer, packet: Publish) -> None:
        topic = topics.parse(packet.topic)
        assert topic is not None
        answer: PubAck | Reject | None = PubAck(packet.packet_id)
        match topic.kind:
            case topics.Kind.SEND:
                answer = self._send(peer, packet, topic)
            case topics.Kind.ACK:
                self.acks.append((topic.scope, packet.payload))
            case topics.Kind.SYNC:
                self._sync(peer, topic.scope, decode(packet.payload, SyncRequest))
        if packet.qos and answer is not None:
            peer.write(answer)

    def _send(self, peer: Peer, packet: Publish, topic: topics.Topic) -> PubAck | None:
        self.sends.append(packet)
        answer = self.answers.popleft() if self.answers else PubAck(0)
        match answer:
            case None:
                return None
            case Reject():
                about = answer.id or decode(packet.payload, Send).id
                peer.deliver(topics.inbox(str(topic.user)), encode(replace(answer, id=about)))
                return PubAck(packet.packet_id)
            case PubAck(reason=0):
                self.accept(topic.scope, decode(packet.payload, Send), str(topic.user))
        answer.packet_id = packet.packet_id
        return answer

    def _sync(self, peer: Peer, user: str, request: SyncRequest) -> None:
        self.syncs.append(request)
        if self.silent_syncs:
            self.silent_syncs -= 1
            return
        for chat, cursor in request.cursors.items():
            peer.deliver(topics.inbox(user), encode(self._answer(chat, cursor, request)))
        peer.deliver(topics.inbox(user), encode(SyncDone(req=request.req)))

    def _answer(self, chat: str, cursor: int, request: SyncRequest) -> object:
        head = len(self.events[chat])
        reason = reset_reason(cursor, Head(head, head), member=topics.messages(chat) not in self.denied)
        if reason is not None:
            return Reset(chat, reason, req=request.req)
        stored = self.events[chat][max(cursor, self.first.get(chat, 1) - 1) :][: request.limit]
        return page(chat, cursor, stored, Head(head, head), limit=request.limit, req=request.req)


@pytest.fixture
def house() -> Iterator[House]:
    """A house of the test's own."""
    made = House()
    yield made
    made.close()
