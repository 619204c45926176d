"""`PushPreferenceStore`, and the unread counts that badges show."""

from __future__ import annotations

from datetime import UTC, datetime

from adapters.stores import Stores
from chat.models import Chat, ChatKind, Head, Member, Role, Watermarks
from chat.push_preferences import PushPreferences, QuietHours, Shows

AT = datetime(2026, 5, 1, 12, 0, 0, 123_000, tzinfo=UTC)


async def test_the_last_wishes_count(stores: Stores) -> None:
    store = stores.push_preferences
    first = PushPreferences("user1", Shows.NOTHING, mentions=False, quiet=QuietHours("22:00", "07:00", "Asia/Seoul"))
    other = PushPreferences("user2", Shows.SENDER)
    await store.put(first)
    await store.put(other)
    assert await store.of_users(["user2", "user1", "user9", "user1"]) == {"user1": first, "user2": other}
    assert await store.of_users([]) == {}
    last = PushPreferences("user1")
    await store.put(last)
    assert await store.of_users(["user1"]) == {"user1": last}


async def test_what_is_unread_in_all_chats(stores: Stores) -> None:
    for number, users in (("1", ("user1", "user2")), ("2", ("user1",)), ("3", ("user1",))):
        members = [Member(f"g-{number}", user, Role.MEMBER, AT) for user in users]
        await stores.chats.create(Chat(f"g-{number}", ChatKind.GROUP, AT, "user1"), members)
    await stores.chats.touch({"g-1": (Head(9, 7), AT), "g-2": (Head(5, 5), AT), "g-3": (Head(4, 4), AT)})
    await stores.chats.raise_watermarks([Watermarks("g-1", "user1", 8, 8, 6), Watermarks("g-2", "user1", 5, 5, 5)])
    await stores.chats.remove_member("g-3", "user1", AT)
    assert await stores.chats.unread(["user1", "user2", "user9"], heads={}) == {"user1": 1, "user2": 7, "user9": 0}
    # The cached head of a chat may be behind, and who has seen more than it knows has nothing unread.
    newer = {"g-1": 8, "g-2": 3, "g-9": 5}
    assert await stores.chats.unread(["user1", "user2"], heads=newer) == {"user1": 2, "user2": 8}
    assert await stores.chats.unread([], heads={}) == {}
