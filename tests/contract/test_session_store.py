"""The port of the session store: the same on disk and in memory."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from adapters.memory.sessions import MemorySessions, key_of
from adapters.sqlite.sessions import SqliteSessions
from mqtt.packets import Properties
from mqtt.store import (
    KINDS,
    Batch,
    EntryRecord,
    HeldRecord,
    Key,
    MessageRecord,
    NameRecord,
    Record,
    RetainedRecord,
    SessionRecord,
    SessionStore,
    SubscriptionRecord,
    WillRecord,
)

ALL: Properties = {
    "payload_format_indicator": 1,
    "message_expiry_interval": 0xFFFFFFFF,
    "content_type": "application/json; charset=한글",
    "response_topic": "대화/응답",
    "correlation_data": bytes(range(256)),
    "will_delay_interval": 0,
    "user_property": [("이름", "안녕하세요 👩‍👩‍👧‍👦"), ("이름", "\uac01 \u1100\u1161\u11a8"), ("", "")],
}
"""Everything that a message or a will may carry; Korean composed and decomposed, the same name twice, nothing at all."""
BLOCKS: list[Properties] = [{}, ALL]


def session(key: int = 1, client_id: str = "kim:phone", *, left_at: float | None = None) -> SessionRecord:
    return SessionRecord(key, client_id, "kim", "0123456789abcdef", 3600, left_at)


def message(key: int = 2, payload: bytes = "안녕".encode(), *, properties: Properties | None = None) -> MessageRecord:
    return MessageRecord(key, "대화/1", payload, 1, False, properties or {}, None, None, "lee")


def entry(key: int = 3, of: int = 1, body: int | None = 2, packet_id: int = 0) -> EntryRecord:
    return EntryRecord(key, of, body, packet_id, 1, False, (), "")


def subscription(of: int = 1, text: str = "대화/#") -> SubscriptionRecord:
    return SubscriptionRecord(of, text, 1, False, False, ())


def will(of: int = 1, *, properties: Properties | None = None) -> WillRecord:
    return WillRecord(of, False, None, "끝", b"gone", 1, False, properties or {})


SAMPLES: dict[type[Record], tuple[Record, Record]] = {
    SessionRecord: (session(), SessionRecord(1, "박:폰", "\0박:폰", "", 0xFFFFFFFF, 1795340000.125)),
    SubscriptionRecord: (
        subscription(),
        SubscriptionRecord(1, "대화/#", 2, True, True, (1, 268_435_455)),
    ),
    MessageRecord: (message(), MessageRecord(2, "t", b"", 2, True, ALL, 1795340000.5, 2**53, "")),
    EntryRecord: (entry(), EntryRecord(3, 1, None, 65_535, 3, True, (7, 7), "$share/모임/대화/#")),
    HeldRecord: (HeldRecord(1, 65_535), HeldRecord(1, 65_535)),
    NameRecord: (NameRecord(1, 5, 0), NameRecord(1, 5, 2**62)),
    WillRecord: (will(), WillRecord(1, True, 1795340000.75, "t", b"\0\xff", 2, True, ALL)),
    RetainedRecord: (RetainedRecord("상태/온도", 2), RetainedRecord("상태/온도", 9)),
}
"""Of every kind two records with the same key: the plainest, and one that leaves no field as it was."""

Open = Callable[[], SessionStore]


class Opener:
    """Opens the same state again and again, as processes do one after the other."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._memory: MemorySessions | None = None
        self._open: SessionStore | None = None

    def __call__(self) -> SessionStore:
        self.close()
        if self._directory is not None:
            self._open = SqliteSessions(self._directory)
            return self._open
        if self._memory is None:
            self._memory = MemorySessions()
        else:
            self._memory.reopen()
        self._open = self._memory
        return self._open

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None


@pytest.fixture(params=["memory", "sqlite"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    opener = Opener(tmp_path / "sessions" if request.param == "sqlite" else None)
    yield opener
    opener.close()


def write(store: SessionStore, batch: Batch) -> None:
    """Write a batch, and wait until it is durable."""
    said: list[Exception | None] = []
    done = threading.Event()

    def written(failure: Exception | None) -> None:
        said.append(failure)
        done.set()

    store.write(batch, written)
    assert done.wait(30)
    assert said == [None]


def saving(*records: Record) -> Batch:
    batch = Batch()
    for record in records:
        batch.saved.setdefault(type(record), []).append(record)
    return batch


def forgetting(*keys: tuple[type[Record], Key]) -> Batch:
    batch = Batch()
    for kind, key in keys:
        batch.forgotten.setdefault(kind, []).append(key)
    return batch


def test_a_new_store_is_empty(reopen: Opener) -> None:
    store = reopen()
    assert list(store.load()) == []
    assert store.counts() == dict.fromkeys(KINDS, 0)


def test_starts_rise_with_every_opening(reopen: Opener) -> None:
    assert [reopen().starts for _ in range(4)] == [1, 2, 3, 4]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_record_is_saved_replaced_and_forgotten(reopen: Opener, kind: type[Record]) -> None:
    plain, other = SAMPLES[kind]
    write(reopen(), saving(plain))
    store = reopen()
    assert list(store.load()) == [plain]
    write(store, saving(other))
    store = reopen()
    (found,) = store.load()
    assert found == other
    assert [type(value) for value in found] == [type(value) for value in other]  # False is not 0
    assert store.counts()[kind] == 1
    write(store, forgetting((kind, key_of(other))))
    assert list(reopen().load()) == []


def test_what_is_not_there_is_forgotten_without_a_word(reopen: Opener) -> None:
    store = reopen()
    write(store, forgetting(*((kind, key_of(plain)) for kind, (plain, _) in SAMPLES.items())))
    assert list(reopen().load()) == []


def test_what_is_referred_to_is_loaded_first_and_entries_in_the_order_of_delivery(reopen: Opener) -> None:
    records = [record for kind in reversed(KINDS) for record in (SAMPLES[kind][0],)]
    more = [entry(key) for key in (900, 30, 2**62, 31)]
    write(reopen(), saving(*records, *more))
    loaded = list(reopen().load())
    kinds = [type(record) for record in loaded]
    assert sorted(kinds, key=KINDS.index) == kinds
    assert [record.key for record in loaded if isinstance(record, EntryRecord)] == [3, 30, 31, 900, 2**62]


def test_with_a_session_goes_what_belongs_to_it_and_nothing_else(reopen: Opener) -> None:
    def of(key: int) -> list[Record]:
        return [
            session(key, f"client{key}"),
            subscription(key),
            subscription(key, "$share/모임/x"),
            HeldRecord(key, 1),
            NameRecord(key, 1, 5),
            will(key),
        ]

    store = reopen()
    messages = [message(2), entry(100, 1, 2), entry(101, 11, None, 7), RetainedRecord("t", 2)]
    write(store, saving(*of(1), *of(11), *messages))
    write(store, forgetting((SessionRecord, 1)))
    left = [*of(11), *messages]  # which have keys of their own
    assert sorted(map(repr, reopen().load())) == sorted(map(repr, left))


def test_with_a_session_goes_what_the_same_batch_saves_for_it(reopen: Opener) -> None:
    batch = saving(session(1), session(2, "other"), subscription(1), subscription(2), HeldRecord(1, 4))
    batch.forgotten[SessionRecord] = [1]
    write(reopen(), batch)
    assert list(reopen().load()) == [session(2, "other"), subscription(2)]


def test_what_one_batch_saves_and_forgets_is_not_there(reopen: Opener) -> None:
    batch = saving(message(2), message(4), entry(3))
    batch.forgotten[MessageRecord] = [2]
    write(reopen(), batch)
    assert list(reopen().load()) == [message(4), entry(3)]


def test_texts_that_look_alike_are_different_keys(reopen: Opener) -> None:
    texts = [
        "가",
        "\u1100\u1161",
        "T",
        "t",
        "t ",
        "t/",
        "t%",
        "'t'",
        "t\U0001f600",
        "",
    ]  # composed and decomposed, case, blanks
    write(reopen(), saving(*(subscription(1, text) for text in texts), *(RetainedRecord(text, 2) for text in texts)))
    store = reopen()
    assert {r.text for r in store.load() if isinstance(r, SubscriptionRecord)} == set(texts)
    write(store, forgetting((SubscriptionRecord, (1, "가")), (RetainedRecord, "t")))
    left = list(reopen().load())
    assert {record.text for record in left if isinstance(record, SubscriptionRecord)} == set(texts) - {"가"}
    assert {record.topic for record in left if isinstance(record, RetainedRecord)} == set(texts) - {"t"}


def test_keys_next_to_the_end_of_64_bits(reopen: Opener) -> None:
    high = 2**63 - 1
    records: list[Record] = [
        session(high),
        subscription(high),
        message(high - 1),
        entry(high, high, high - 1),
        will(high),
    ]
    write(reopen(), saving(*records))
    assert list(reopen().load()) == records


@pytest.mark.parametrize("count", [1, 15, 16, 17, 255, 256, 257, 256 + 16 + 1, 5_000])
def test_a_batch_of_any_size(reopen: Opener, count: int) -> None:
    store = reopen()
    entries = [entry(key) for key in range(1, count + 1)]
    held = [HeldRecord(key, packet_id) for key in range(1, count + 1) for packet_id in (1, 2)]
    write(store, saving(*entries, *held))
    assert store.counts()[EntryRecord] == count
    odd = [(EntryRecord, each.key) for each in entries if each.key % 2]
    write(store, forgetting(*odd, *((HeldRecord, (each.session, 2)) for each in held if each.packet_id == 2)))
    left = list(reopen().load())
    assert left == [each for each in entries if not each.key % 2] + [each for each in held if each.packet_id == 1]


def test_many_sessions_go_at_once(reopen: Opener) -> None:
    keys = range(1, 1_001)
    store = reopen()
    write(store, saving(*(session(key, str(key)) for key in keys), *(subscription(key) for key in keys)))
    write(store, forgetting(*((SessionRecord, key) for key in keys if key != 500)))
    assert list(reopen().load()) == [session(500, "500"), subscription(500)]


def test_any_batches_leave_the_same_on_disk_and_in_memory(tmp_path: Path) -> None:
    """What one thinks of by itself is not all: random batches over few keys, so that they meet."""
    choose = random.Random(20261122)  # noqa: S311 - the same batches every time
    memory, disk = MemorySessions(), SqliteSessions(tmp_path / "s")
    for _ in range(300):
        batch = Batch()
        for _ in range(choose.randint(1, 12)):
            record = _any(choose)
            if choose.random() < 0.6:
                others = [r for r in batch.saved.get(type(record), []) if key_of(r) != key_of(record)]
                batch.saved[type(record)] = [*others, record]
            else:
                batch.forgotten.setdefault(type(record), []).append(key_of(record))
        write(memory, batch)
        write(disk, batch)
    expected = list(memory.load())
    assert expected
    assert list(disk.load()) == expected
    assert disk.counts() == memory.counts()
    disk.close()


def _any(choose: random.Random) -> Record:
    key, of = choose.randint(1, 6), choose.randint(1, 4)
    made: list[Record] = [
        session(of, choose.choice("abcd") + str(of)),
        subscription(of, choose.choice(["a/#", "나/+", "$share/g/x"])),
        message(key, bytes([key]), properties=choose.choice(BLOCKS)),
        entry(key, of, choose.choice([None, 1, 2])),
        HeldRecord(of, key),
        NameRecord(of, key, choose.randint(0, 9)),
        will(of, properties=choose.choice(BLOCKS)),
        RetainedRecord(choose.choice(["a", "나"]), key),
    ]
    return choose.choice(made)
