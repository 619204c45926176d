"""The OpenAPI document: FastAPI's, with the schemas of the structs that routes answer and the envelopes that they read."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.admin.routers import EXAMPLES as ADMIN_EXAMPLES
from api.auth.schemas import ACCOUNT_EXAMPLE, INTROSPECTION_EXAMPLE, TOKENS_EXAMPLE, Account, Introspection, Tokens
from api.blocks.schemas import BLOCKS_EXAMPLE, BlockPage
from api.chats.schemas import CHAT_EXAMPLE, CHATS_EXAMPLE, ChatPage, ChatView
from api.contacts.schemas import CONTACT_EXAMPLE, CONTACTS_EXAMPLE, ContactPage, ContactView
from api.dead_letters.schemas import (
    LETTER_EXAMPLE,
    LETTERS_EXAMPLE,
    REPLAYED_EXAMPLE,
    LetterDetail,
    LetterPage,
    Replayed,
)
from api.devices.schemas import (
    CERTIFICATE_EXAMPLE,
    CREDENTIALS_EXAMPLE,
    DEVICE_EXAMPLE,
    DEVICES_EXAMPLE,
    DeviceCertificate,
    DeviceCredentials,
    DeviceList,
    DeviceView,
)
from api.errors import Problem, problems_of_a_body
from api.idempotency import is_exempt
from api.invitations.schemas import (
    LINK_EXAMPLE,
    LINKS_EXAMPLE,
    NEW_LINK_EXAMPLE,
    PREVIEW_EXAMPLE,
    REQUESTS_EXAMPLE,
    WAITING_EXAMPLE,
    WAITING_LIST_EXAMPLE,
    LinkList,
    LinkView,
    NewLinkView,
    Preview,
    RequestPage,
    Waiting,
    WaitingList,
)
from api.members.schemas import MEMBERS_EXAMPLE, MemberPage
from api.messages.schemas import (
    CLEARED_EXAMPLE,
    EVENT_EXAMPLE,
    HISTORY_EXAMPLE,
    ITEM_EXAMPLE,
    PINS_EXAMPLE,
    RECEIPTS_EXAMPLE,
    SEND_EXAMPLE,
    ClearedUpTo,
    HistoryItem,
    HistoryPage,
    MessageReceipts,
    Pins,
)
from api.oidc.schemas import PROVIDERS_EXAMPLE, STARTED_EXAMPLE, Providers, Started
from api.push_preferences.schemas import PREFERENCES_EXAMPLE, Preferences
from api.second_factor.schemas import (
    FACTOR_EXAMPLE,
    NEW_FACTOR_EXAMPLE,
    RECOVERY_EXAMPLE,
    FactorState,
    NewFactor,
    RecoveryCodes,
)
from api.service_accounts.schemas import (
    SERVICE_CREDENTIALS_EXAMPLE,
    SERVICES_EXAMPLE,
    ServiceAccountCredentials,
    ServiceAccountPage,
)
from api.sessions.schemas import SESSIONS_EXAMPLE, SessionList
from api.sync.schemas import RESET_EXAMPLE, SYNC_EXAMPLE, SYNC_PAGE_EXAMPLE, SyncAnswer
from api.users.schemas import PROFILE_EXAMPLE, PROFILES_EXAMPLE, Profile, ProfileList
from api.web_push.schemas import SERVER_KEY_EXAMPLE, SUBSCRIBED_EXAMPLE, ServerKey, Subscribed
from chat.envelopes import Event, Reset, Send, SyncPage

_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "chosen by the client, a UUID say: sent again with the same key (and body), a request that was answered 2xx creates nothing "
    "new and is answered as the first time. Codes: `idempotency_key_reused`, `idempotency_in_progress`, `invalid_idempotency_key`",
    "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
}

_REFERENCE = "#/components/schemas/{name}"

EXAMPLES: dict[type[msgspec.Struct], dict[str, Any]] = {
    Account: ACCOUNT_EXAMPLE,
    ChatPage: CHATS_EXAMPLE,
    ChatView: CHAT_EXAMPLE,
    ClearedUpTo: CLEARED_EXAMPLE,
    DeviceCertificate: CERTIFICATE_EXAMPLE,
    DeviceCredentials: CREDENTIALS_EXAMPLE,
    DeviceList: DEVICES_EXAMPLE,
    DeviceView: DEVICE_EXAMPLE,
    Event: EVENT_EXAMPLE,
    HistoryItem: ITEM_EXAMPLE,
    FactorState: FACTOR_EXAMPLE,
    HistoryPage: HISTORY_EXAMPLE,
    Introspection: INTROSPECTION_EXAMPLE,
    LetterDetail: LETTER_EXAMPLE,
    LetterPage: LETTERS_EXAMPLE,
    MemberPage: MEMBERS_EXAMPLE,
    MessageReceipts: RECEIPTS_EXAMPLE,
    NewFactor: NEW_FACTOR_EXAMPLE,
    Pins: PINS_EXAMPLE,
    Preferences: PREFERENCES_EXAMPLE,
    Profile: PROFILE_EXAMPLE,
    Providers: PROVIDERS_EXAMPLE,
    RecoveryCodes: RECOVERY_EXAMPLE,
    Replayed: REPLAYED_EXAMPLE,
    Reset: RESET_EXAMPLE,
    Send: SEND_EXAMPLE,
    ServerKey: SERVER_KEY_EXAMPLE,
    ServiceAccountCredentials: SERVICE_CREDENTIALS_EXAMPLE,
    ServiceAccountPage: SERVICES_EXAMPLE,
    SessionList: SESSIONS_EXAMPLE,
    Started: STARTED_EXAMPLE,
    Subscribed: SUBSCRIBED_EXAMPLE,
    SyncAnswer: SYNC_EXAMPLE,
    SyncPage: SYNC_PAGE_EXAMPLE,
    Tokens: TOKENS_EXAMPLE,
    BlockPage: BLOCKS_EXAMPLE,
    ContactPage: CONTACTS_EXAMPLE,
    ContactView: CONTACT_EXAMPLE,
    LinkList: LINKS_EXAMPLE,
    LinkView: LINK_EXAMPLE,
    NewLinkView: NEW_LINK_EXAMPLE,
    Preview: PREVIEW_EXAMPLE,
    ProfileList: PROFILES_EXAMPLE,
    RequestPage: REQUESTS_EXAMPLE,
    Waiting: WAITING_EXAMPLE,
    WaitingList: WAITING_LIST_EXAMPLE,
    **ADMIN_EXAMPLES,
}
"""What routes answer and read, each with an example."""


def install(app: FastAPI) -> None:
    """Let `/openapi.json` know the structs."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's documented way to extend the document


def _document(app: FastAPI) -> dict[str, Any]:
    found = get_openapi(
        title=app.title, version=app.version, summary=app.summary, description=app.description, routes=app.routes
    )
    _, structs = msgspec.json.schema_components(tuple(EXAMPLES), ref_template=_REFERENCE)
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas = found.setdefault("components", {}).setdefault("schemas", {})
    schemas.update(structs)
    # Here and not with the routes: FastAPI leaves nulls out of theirs.
    for struct, example in EXAMPLES.items():
        schemas[struct.__name__]["examples"] = [example]
    for name, path in found["paths"].items():
        if "post" in path and not is_exempt(name):
            path["post"].setdefault("parameters", []).append(_IDEMPOTENCY_KEY)
    schemas.update(problem.pop("$defs"))
    schemas["Problem"] = problem
    for operation in (operation for path in found["paths"].values() for operation in path.values()):
        if "requestBody" in operation:
            operation["responses"].update(problems_of_a_body())
    return found
