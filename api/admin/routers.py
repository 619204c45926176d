"""The routes of administration, and what they answer, for the application and its OpenAPI document."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import APIRouter

from api.admin.audit.endpoints import router as audit
from api.admin.audit.schemas import AUDIT_EXAMPLE, VERIFICATION_EXAMPLE, AuditPage, Verification
from api.admin.broadcasts.endpoints import router as broadcasts
from api.admin.broadcasts.schemas import BROADCAST_EXAMPLE, BROADCASTS_EXAMPLE, BroadcastPage, BroadcastView
from api.admin.chats.endpoints import router as chats
from api.admin.chats.schemas import (
    CHAT_DETAIL_EXAMPLE,
    CHATS_EXAMPLE,
    MEMBERS_EXAMPLE,
    AdminChatDetail,
    AdminChatPage,
    AdminMemberPage,
)
from api.admin.connections.endpoints import router as connections
from api.admin.connections.schemas import (
    CONNECTION_DETAIL_EXAMPLE,
    CONNECTIONS_EXAMPLE,
    DISCONNECTED_EXAMPLE,
    ConnectionPage,
    Disconnected,
    LiveConnectionDetail,
)
from api.admin.devices.endpoints import router as devices
from api.admin.devices.schemas import DEVICE_EXAMPLE, DEVICES_EXAMPLE, AdminDevice, AdminDevicePage
from api.admin.messages.endpoints import router as messages
from api.admin.messages.schemas import MODERATED_EXAMPLE, Moderated
from api.admin.statistics.endpoints import router as statistics
from api.admin.statistics.schemas import STATISTICS_EXAMPLE, Statistics
from api.admin.system.endpoints import router as system
from api.admin.system.schemas import HEALTH_EXAMPLE, SETTINGS_EXAMPLE, SystemHealth, SystemSettings
from api.admin.users.endpoints import router as users
from api.admin.users.schemas import USER_DETAIL_EXAMPLE, USERS_EXAMPLE, AdminUserDetail, AdminUserPage
from api.announcements.endpoints import router as announcements
from api.announcements.schemas import ANNOUNCEMENTS_EXAMPLE, AnnouncementPage

ROUTERS: tuple[APIRouter, ...] = (
    users,
    chats,
    devices,
    connections,
    messages,
    broadcasts,
    statistics,
    audit,
    system,
    announcements,
)

EXAMPLES: dict[type[msgspec.Struct], dict[str, Any]] = {
    AdminChatDetail: CHAT_DETAIL_EXAMPLE,
    AdminChatPage: CHATS_EXAMPLE,
    AdminDevice: DEVICE_EXAMPLE,
    AdminDevicePage: DEVICES_EXAMPLE,
    AdminMemberPage: MEMBERS_EXAMPLE,
    AdminUserDetail: USER_DETAIL_EXAMPLE,
    AdminUserPage: USERS_EXAMPLE,
    AuditPage: AUDIT_EXAMPLE,
    AnnouncementPage: ANNOUNCEMENTS_EXAMPLE,
    BroadcastPage: BROADCASTS_EXAMPLE,
    BroadcastView: BROADCAST_EXAMPLE,
    ConnectionPage: CONNECTIONS_EXAMPLE,
    Disconnected: DISCONNECTED_EXAMPLE,
    LiveConnectionDetail: CONNECTION_DETAIL_EXAMPLE,
    Moderated: MODERATED_EXAMPLE,
    Statistics: STATISTICS_EXAMPLE,
    SystemHealth: HEALTH_EXAMPLE,
    SystemSettings: SETTINGS_EXAMPLE,
    Verification: VERIFICATION_EXAMPLE,
}
"""What these routes answer, each with an example."""
