"""The topic table: every row, there and back, and what is no row."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat import topics
from chat.topics import Kind, Topic, parse

ROWS = [
    (topics.send("g-1", "user1"), "chats/g-1/send/user1", Topic(Kind.SEND, "g-1", "user1")),
    (topics.messages("g-1"), "chats/g-1/messages", Topic(Kind.MESSAGES, "g-1")),
    (topics.ack("g-1", "user1"), "chats/g-1/ack/user1", Topic(Kind.ACK, "g-1", "user1")),
    (topics.receipts("g-1"), "chats/g-1/receipts", Topic(Kind.RECEIPTS, "g-1")),
    (topics.typing("g-1", "user1"), "chats/g-1/typing/user1", Topic(Kind.TYPING, "g-1", "user1")),
    (topics.typing("g-1"), "chats/g-1/typing/+", Topic(Kind.TYPING, "g-1", "+")),
    (topics.inbox("user1"), "users/user1/inbox", Topic(Kind.INBOX, "user1")),
    (topics.sync("user1"), "users/user1/sync", Topic(Kind.SYNC, "user1")),
    (topics.presence("user1"), "users/user1/presence", Topic(Kind.PRESENCE, "user1")),
    (topics.telemetry("dev-1", "a/b"), "devices/dev-1/telemetry/a/b", Topic(Kind.TELEMETRY, "dev-1", rest="a/b")),
    (topics.telemetry("dev-1"), "devices/dev-1/telemetry/#", Topic(Kind.TELEMETRY, "dev-1", rest="#")),
    (topics.commands("dev-1", "on"), "devices/dev-1/commands/on", Topic(Kind.COMMANDS, "dev-1", rest="on")),
    (topics.commands("dev-1"), "devices/dev-1/commands/#", Topic(Kind.COMMANDS, "dev-1", rest="#")),
    *((topics.event(n), f"$events/{n}", Topic(Kind.EVENTS, n)) for n in ("delivered", "connected", "disconnected")),
]


@pytest.mark.parametrize(("built", "text", "parsed"), ROWS, ids=lambda value: value if isinstance(value, str) else "")
def test_every_row_there_and_back(built: str, text: str, parsed: Topic) -> None:
    assert built == text
    assert parse(text) == parsed


def test_every_kind_has_a_row() -> None:
    assert {parsed.kind for _, _, parsed in ROWS} == set(Kind)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "#",
        "+",
        "chats",
        "chats/g-1",
        "chats/#",
        "chats/g-1/#",
        "chats/g-1/+",
        "chats/+/messages",
        "chats/g-1/messages/",
        "chats/g-1/messages/x",
        "/chats/g-1/messages",
        "Chats/g-1/messages",
        "chats/g-1/Messages",
        "chats//messages",
        "chats/g 1/messages",
        "chats/안녕/messages",
        "chats/" + "g" * 65 + "/messages",
        "chats/g-1/send",
        "chats/g-1/send/",
        "chats/g-1/send/+",
        "chats/g-1/send/#",
        "chats/g-1/ack/+",
        "chats/g-1/typing",
        "chats/g-1/typing/#",
        "chats/g-1/typing/+/x",
        "chats/g-1/send/user1/x",
        "chats/g-1/send/USER1",
        "users/+/inbox",
        "users/user1",
        "users/user1/#",
        "users/user1/inbox/x",
        "users/user1/other",
        "devices/+/telemetry/#",
        "devices/dev-1",
        "devices/dev-1/#",
        "devices/dev-1/other/x",
        "$events/#",
        "$events/+",
        "$events/other",
        "$events/delivered/x",
        "$share/bridge/chats/+/send/+",
        "$share/g/chats/g-1/messages",
        "$SYS/x",
        "messages",
        "chats/g-1/messages\0",
        "chats/g-1/messages\n",
    ],
)
def test_what_is_no_row(text: str) -> None:
    assert parse(text) is None


@given(
    levels=st.lists(
        st.sampled_from(
            [
                "chats",
                "users",
                "devices",
                "$events",
                "g-1",
                "user1",
                "+",
                "#",
                "",
                "send",
                "inbox",
                "messages",
                "typing",
                "telemetry",
            ]
        ),
        max_size=6,
    )
)
def test_wildcards_are_only_where_the_table_has_them(levels: list[str]) -> None:
    parsed = parse("/".join(levels))
    if parsed is None:
        return
    assert not {"+", "#"} & {parsed.scope}
    assert parsed.user not in ("#", "")
    assert parsed.user != "+" or parsed.kind is Kind.TYPING
    assert not {"+", "#"} & set(levels[:3])


@given(text=st.text(max_size=60))
def test_noise_is_parsed_or_not_and_never_raises(text: str) -> None:
    parse(text)


def test_what_the_bridge_asks_for() -> None:
    assert topics.shared("chats/+/send/+") == "$share/bridge/chats/+/send/+"
    assert topics.shared("a", "g") == "$share/g/a"


@pytest.mark.parametrize(
    ("key", "topic"),
    [
        ("chats.g-1.messages", "chats/g-1/messages"),
        ("chats.g-1.send.haneul", "chats/g-1/send/haneul"),
        ("chats.g-1.send.kim.ha.neul", "chats/g-1/send/kim.ha.neul"),
        ("chats.g-1.typing.*", "chats/g-1/typing/+"),
        ("users.kim.ha.inbox", "users/kim.ha/inbox"),
        ("users.haneul.sync", "users/haneul/sync"),
        ("devices.dev-1.telemetry.a.b", "devices/dev-1/telemetry/a/b"),
        ("devices.dev-1.commands.#", "devices/dev-1/commands/#"),
        ("#", "#"),
        ("users", "users"),
        ("", ""),
        ("chats/g-1/messages", None),
        ("chats.+.messages", None),
    ],
)
def test_the_topic_behind_a_routing_key(key: str, topic: str | None) -> None:
    assert topics.from_routing_key(key) == topic
    if topic is not None and topics.parse(topic) is not None:
        assert topic.replace("/", ".").replace("+", "*") == key
