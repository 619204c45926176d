"""Live connections: the broker's to tell, and to cut."""

from __future__ import annotations

from dataclasses import dataclass

from api.admin.access import Staff, admin_only
from api.admin.connections.schemas import ConnectionPage, ConnectionsQuery, Disconnected, DisconnectQuery
from chat import permissions
from chat.admin import AdminStore, Connections, LiveConnectionDetail
from chat.errors import NotFound, PabalError
from chat.ids import is_service
from chat.permissions import Rank


@dataclass(frozen=True, slots=True)
class ConnectionAdmin:
    """The decisions of `/v1/admin/connections`."""

    connections: Connections
    admin: AdminStore

    async def page(self, query: ConnectionsQuery) -> ConnectionPage:
        """One page, by client id.

        Raises:
            Unavailable: the broker does not answer, or is not known.
        """
        items, following = await self.connections.page(
            prefix=query.prefix, state=query.state, cursor=query.cursor, limit=query.limit
        )
        return ConnectionPage(items=items, next=following)

    async def show(self, client: str) -> LiveConnectionDetail:
        """One of them.

        Raises:
            NotFound: `unknown_connection`.
            Unavailable: the broker does not answer, or is not known.
        """
        found = await self.connections.get(client)
        if found is None:
            raise unknown_connection()
        return found

    async def disconnect(self, client: str, query: DisconnectQuery, *, staff: Staff) -> Disconnected:
        """Cut it. The client may come back at once: who is to stay out is suspended.

        Raises:
            NotFound: `unknown_connection`.
            Forbidden: `admin_only`: of a service of ours, or of somebody above.
            Unavailable: the broker does not answer, or is not known.
        """
        found = await self.show(client)
        await self._check(found.principal, staff)
        await staff.trail.record(
            "connection.cut", target=client, reason=query.reason, principal=found.principal, session=query.session
        )
        try:
            done = await self.connections.disconnect(client, drop_session=query.session == "drop")
        except PabalError as error:
            await staff.trail.failed("connection.cut", error, target=client)
            raise
        if done is None:
            raise unknown_connection()
        was_connected, kept = done
        return Disconnected(client, was_connected, kept)

    async def _check(self, principal: str, staff: Staff) -> None:
        """One's own connections may be cut; those of who stands above may not, and services only by administrators."""
        if staff.rank is Rank.ADMIN or principal == staff.id:
            return
        account = await self.admin.account(principal)
        target = Rank.USER if account is None else permissions.rank(admin=account.admin, moderator=account.moderator)
        if is_service(principal) or not permissions.may_sanction(staff.rank, target, oneself=False):
            raise admin_only()


def unknown_connection() -> NotFound:
    """The broker has no session of that client id."""
    return NotFound("the broker has no session of this client id", code="unknown_connection")
