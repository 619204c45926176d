"""Lists that are read anew while the bridge runs, and the whole chain in a running bridge."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bridge.filters import lists
from bridge.filters.lists import ListBroken, Listed
from bridge.filters.words import WordList
from chat.envelopes import Attachment, Body
from chat.ids import new_message_id


def write(path: Path, text: str | bytes) -> None:
    """As editors and deployments do it: another file takes the place."""
    fresh = path.with_suffix(".new")
    fresh.write_bytes(text if isinstance(text, bytes) else text.encode())
    fresh.replace(path)


async def test_a_changed_list_is_read_and_a_broken_one_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "words.txt"
    write(path, "시발")
    listed = Listed(path, WordList)
    assert listed.value.find("시발")
    write(path, "\ufeff병신\r\n")
    await listed.refresh()
    assert listed.value.find("병신")
    assert not listed.value.find("시발")
    monkeypatch.setattr(lists, "MAX_BYTES", 20)
    for broken in (b"\xff\xfe", "바보\n!!!", "바보\n" * 20):
        write(path, broken)
        await listed.refresh()
        assert listed.value.find("병신"), "the list of before"
    path.unlink()
    await listed.refresh()
    assert listed.value.find("병신")
    told = capsys.readouterr().out
    assert told.count("list.failed") == 4
    assert "병신" not in told
    write(path, "바보")
    await listed.refresh()
    assert listed.value.find("바보")


@pytest.mark.parametrize("text", [None, b"\xff", "..."])
def test_a_broken_list_at_the_start_is_an_error(tmp_path: Path, text: str | bytes | None) -> None:
    path = tmp_path / "words.txt"
    if text is not None:
        write(path, text)
    with pytest.raises(ListBroken):
        Listed(path, WordList)


async def test_the_chain_of_a_running_bridge(make_world: Callable[..., Any], tmp_path: Path) -> None:
    words_file, links_file = tmp_path / "words.txt", tmp_path / "links.txt"
    write(words_file, "시발\n!시발점")
    write(links_file, "evil.example")
    world = await make_world(
        bridge_words_file=words_file, bridge_links_file=links_file, bridge_duplicates=3, bridge_max_text=100
    )
    bodies = {
        "blocked_word": Body(text="시.발"),
        "blocked_link": Body(attachment=Attachment(url="https://www.evil.example/a.webp", content_type="image/webp")),
        "too_long": Body(text="가" * 101),
    }
    for code, body in bodies.items():
        answer = await world.send("c1", "user1", body=body)
        assert (answer.reason_code >= 0x80, answer.code) == (True, code)
        assert world.count("refused", code=code) == 1
    blocked = Body(attachment=Attachment(url="https://a.example/1", content_type="image/webp", name="시발.webp"))
    for body in (blocked, Body(data="시발"), Body(data={"text": "시발"})):
        assert (await world.send("c1", "user1", body=body)).code == "blocked_word"
    assert (await world.send("c1", "dev-thermo", raw="시발".encode(), ingest="i1")).code == "blocked_word"
    for _ in range(3):
        assert (await world.send("c1", "user1", "시발점이 어디예요?")).reason_code == 0
    assert (await world.send("c1", "user1", "시발점이 어디예요?")).code == "duplicate_flood"
    (first, *_) = await world.history("c1")
    edit = await world.send("c1", "user1", type="edit", target=first.id, body=Body(text="시발"))
    assert edit.code == "blocked_word"
    assert len(await world.history("c1")) == 3
    assert [reject["code"] for reject in world.inbox("user1")].count("blocked_word") == 5
    write(words_file, "바보")
    await world.bridge.filters.refresh()
    assert (await world.send("c1", "user1", "시발")).reason_code == 0
    assert (await world.send("c1", "user1", "바보")).code == "blocked_word"


async def test_a_repeat_passes_whatever_the_filters_say_by_now(make_world: Callable[..., Any], tmp_path: Path) -> None:
    """Its first try is stored, so its sender must be told so (P4)."""
    words_file = tmp_path / "words.txt"
    write(words_file, "바보")
    world = await make_world(bridge_words_file=words_file, bridge_rate=0.001, bridge_burst=2)
    id_ = new_message_id()
    assert (await world.send("c1", "user1", "시발", id_=id_)).reason_code == 0
    write(words_file, "시발")
    await world.bridge.filters.refresh()
    assert (await world.send("c1", "user1", "시발", id_=id_)).reason_code == 0  # blocked by now
    assert (await world.send("c1", "user1", "시발", id_=id_)).reason_code == 0  # and too fast
    assert (await world.send("c1", "user1", "안녕")).code == "rate_limited"
    assert (await world.send("c1", "user2", "시발", id_=id_)).code == "blocked_word"  # somebody else's id is no repeat
    assert len(await world.history("c1")) == 1
    assert world.count("repeats") == 2


async def test_a_sender_is_slowed_down_over_all_bridges(make_world: Callable[..., Any]) -> None:
    settings = {"bridge_rate": 0.001, "bridge_burst": 10}
    one = await make_world(**settings)
    two = await make_world(one.stores, one.broker, **settings)
    two.bridge.filters._buckets[0]._shared = one.limiter  # as if on the same Valkey
    answers = [(await one.send("c1", "user1", f"{number}")).code for number in range(40)]
    stored = answers.count(None)
    assert 10 <= stored <= 21
    for bridge in (one.bridge, two.bridge):
        for buckets in bridge.filters._buckets:
            await buckets.share()
    await asyncio.sleep(0)
    answers = [(await one.send("c2", "user2", f"{number}")).code for number in range(5)]
    assert answers == [None] * 5


def test_the_process_says_what_is_wrong_with_a_list(mongo_url: str, mongo_database: str, tmp_path: Path) -> None:
    secret, words_file = tmp_path / "secret", tmp_path / "words.txt"
    secret.write_text("s" * 43)
    write(words_file, "바보\n...")
    environment = os.environ | {
        "PABAL_MONGO_URL": mongo_url,
        "PABAL_MONGO_DATABASE": mongo_database,
        "PABAL_LINK_SECRET_FILE": str(secret),
        "PABAL_BRIDGE_WORDS_FILE": str(words_file),
    }
    done = subprocess.run(
        [sys.executable, "-m", "bridge"], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (2, "bridge: words.txt: line 2 has no letter\n")
