"""`Connections` and `Processes` in memory."""

from __future__ import annotations

from msgspec.structs import asdict

from chat.admin import LiveConnection, LiveConnectionDetail


class MemoryConnections:
    """Connections by client id.

    Attributes:
        rows: who is there.
    """

    def __init__(self) -> None:
        self.rows: dict[str, LiveConnectionDetail] = {}

    async def page(
        self, *, prefix: str, state: str, cursor: str | None, limit: int
    ) -> tuple[list[LiveConnection], str | None]:
        """See `Connections.page`."""
        found = [
            row
            for client, row in sorted(self.rows.items())
            if client.startswith(prefix)
            and client > (cursor or "")
            and (state == "all" or row.connected == (state == "connected"))
        ]
        more = found[limit - 1].client_id if len(found) > limit else None
        return [_row(row) for row in found[:limit]], more

    async def get(self, client: str) -> LiveConnectionDetail | None:
        """See `Connections.get`."""
        return self.rows.get(client)

    async def disconnect(self, client: str, *, drop_session: bool) -> tuple[bool, bool] | None:
        """See `Connections.disconnect`."""
        row = self.rows.get(client)
        if row is None:
            return None
        was, row.connected = row.connected, False
        if drop_session:
            del self.rows[client]
        return was, not drop_session


class MemoryProcesses:
    """What processes would tell, by name.

    Attributes:
        parts: for `health`; `values`: for `settings`.
    """

    def __init__(self) -> None:
        self.parts: dict[str, dict[str, bool] | None] = {}
        self.values: dict[str, dict[str, str] | None] = {}

    async def health(self) -> dict[str, dict[str, bool] | None]:
        """See `Processes.health`."""
        return dict(self.parts)

    async def settings(self) -> dict[str, dict[str, str] | None]:
        """See `Processes.settings`."""
        return dict(self.values)


def _row(row: LiveConnectionDetail) -> LiveConnection:
    fields = asdict(row)
    return LiveConnection(**{name: fields[name] for name in LiveConnection.__struct_fields__})
