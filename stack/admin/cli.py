"""The tree of `pabal admin`."""

from __future__ import annotations

import typer

from stack.admin import broadcasts, system, things, users
from stack.dead_letters_cli import app as dead_letters

HELP = """
Administer a running stack, through its API, as its administrator. Every change goes to the audit log with your --reason.

\b
    pabal admin users list 하늘
    pabal admin users suspend haneul --until 2026-06-01T00:00:00Z --reason "욕설 신고 3건"
    pabal admin stats --by day
    pabal admin audit verify

Tables for people, --json for programs. What can't be taken back asks first: --yes does not.
"""

app = typer.Typer(help=HELP, no_args_is_help=True, rich_markup_mode=None)
app.add_typer(users.app, name="users")
app.add_typer(things.chats, name="chats")
app.add_typer(things.devices, name="devices")
app.add_typer(things.connections, name="connections")
app.add_typer(things.messages, name="messages")
app.add_typer(broadcasts.app, name="broadcasts")
app.add_typer(dead_letters, name="dead-letters")
app.add_typer(system.audit, name="audit")
app.command("stats")(system.stats)
app.command("health")(system.health)
app.command("settings")(system.settings)
