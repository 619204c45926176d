"""What changes several documents is done or not done, also when its process is killed in the middle (on MongoDB only)."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from datetime import UTC, datetime

from adapters.mongo import open_stores
from chat.errors import Unavailable
from chat.models import Chat, ChatKind, Member, Role
from stack.processes import REPOSITORY

AT = datetime(2026, 5, 1, tzinfo=UTC)

# An owner leaves, and their process stops between the two writes.
HALF = """
import asyncio, sys
from datetime import UTC, datetime
from adapters.mongo import connect, stores_of

async def stop(chat, session):
    print("half", flush=True)
    await asyncio.sleep(3600)

async def main(url, database):
    memberships = stores_of(connect(url, database)).memberships
    memberships._heir = stop
    await memberships.leave("g-1", "user1", datetime.now(UTC))

asyncio.run(main(*sys.argv[1:]))
"""


async def test_an_owner_whose_leaving_was_cut_off_still_owns_the_chat_and_can_leave_again(
    mongo_url: str, mongo_database: str
) -> None:
    stores = await open_stores(mongo_url, mongo_database)
    rows = [Member("g-1", "user1", Role.OWNER, AT), Member("g-1", "user2", Role.MEMBER, AT)]
    await stores.chats.create(Chat("g-1", ChatKind.GROUP, AT, "user1"), rows)
    argv = [sys.executable, "-c", HALF, mongo_url, mongo_database]
    process = await asyncio.create_subprocess_exec(*argv, stdout=subprocess.PIPE, cwd=REPOSITORY)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"half\n"
    process.kill()
    await process.wait()
    assert await stores.chats.members("g-1") == rows
    deadline = time.monotonic() + 60
    while True:
        try:
            assert await stores.memberships.leave("g-1", "user1", AT) == (True, "user2")
            break
        except Unavailable:  # until the database gives up what the killed one has left open
            assert time.monotonic() < deadline
    assert [(row.user, row.role) for row in await stores.chats.members("g-1")] == [("user2", Role.OWNER)]
    await stores.close()
