"""A topic plugin as a user of amqtt would write one: each action has its own filters, some topics are odd on purpose."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import ClassVar

from amqtt.contexts import Action
from amqtt.plugins import TopicMatcher
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin
from amqtt.session import Session


class Rules(BaseTopicPlugin):
    """What is below `secret/` may be subscribed to, but not received."""

    asked: ClassVar[Counter[tuple[str, str]]] = Counter()

    async def topic_filtering(
        self, *, session: Session | None = None, topic: str | None = None, action: Action | None = None
    ) -> bool | None:
        assert session is not None
        assert topic is not None
        self.asked[str(action), topic] += 1
        await asyncio.sleep(0)
        if topic.endswith("/error"):
            raise RuntimeError("the database is away")
        if topic.endswith("/forever"):
            await asyncio.Event().wait()
        if topic.endswith("/none"):
            return None
        denied = self.config.denied.get(str(action), [])
        return not TopicMatcher().are_topics_allowed(topic, denied)

    @dataclass
    class Config:
        denied: dict[str, list[str]] = field(default_factory=dict)


class Answers(BaseAuthPlugin):
    """Answers what it is told to; it also remembers whom it was asked about."""

    sessions: ClassVar[list[Session]] = []

    async def authenticate(self, *, session: Session) -> bool | None:
        self.sessions.append(session)
        match self.config.answer:
            case "yes" | "no":
                return self.config.answer == "yes"
            case "error":
                raise RuntimeError("the directory is away")
            case "forever":
                await asyncio.Event().wait()
        return None

    @dataclass
    class Config:
        answer: str = "yes"


class More(Answers):
    """The same once more, as a class is named once."""


class Synchronous(BaseAuthPlugin):
    def authenticate(self, *, session: Session) -> bool | None:  # type: ignore[override]
        return session.username is not None
