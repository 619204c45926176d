"""The story: its steps, in order."""

from __future__ import annotations

from clients.demo import steps_away, steps_direct, steps_group, steps_guard
from clients.demo.play import Step

STORY = (
    Step("register", "Two users register over REST", steps_direct.register),
    Step("direct_chat", "They open a 1:1 chat", steps_direct.open_chat, ("register",)),
    Step("connect", "They connect over MQTT", steps_direct.connect, ("direct_chat",)),
    Step("text", "The first sends 한국어, the second gets it", steps_direct.first_text, ("connect",)),
    Step("delivered", "The first sees: delivered", steps_direct.delivered, ("text",)),
    Step("seen", "The first sees: seen", steps_direct.seen, ("delivered",)),
    Step("group", "A group of five, and a thermometer", steps_group.group, ("connect",)),
    Step("reading", "It publishes plain bytes with MQTT 3.1.1, all five get them", steps_group.reading, ("group",)),
    Step("away", "The second user goes away", steps_away.away, ("seen", "reading")),
    Step("missed", "Three messages come meanwhile", steps_away.missed, ("away",)),
    Step("push", "A push goes out for them", steps_away.pushed, ("missed",)),
    Step("back", "The user comes back and syncs exactly three", steps_away.back, ("missed", "push")),
    Step("resend", "One id is sent again: nothing new, same seq", steps_away.resend, ("back",)),
    Step("outsider", "An outsider connects", steps_guard.outsider, ("connect",)),
    Step("no_subscribe", "The outsider can't subscribe", steps_guard.cannot_subscribe, ("outsider", "group")),
    Step("no_publish", "The outsider can't publish", steps_guard.cannot_publish, ("outsider",)),
    Step("no_history", "The outsider can't read history", steps_guard.cannot_read, ("outsider", "group")),
    Step("history", "History shows all of it, with status, delivered_at, seen_at", steps_guard.history, ("resend",)),
)
