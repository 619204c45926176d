"""What Schemathesis can't know of this API: how to sign in, and which refusals are rules that a JSON schema can't tell.

It runs as a process of its own (`test_schemathesis.py` starts it) and imports this module.
"""

from __future__ import annotations

import os
from typing import Any

import httpx
import schemathesis
from schemathesis.specs.openapi import checks

BY_SCHEMA = {"invalid_request", "not_json", "bad_request"}
"""Codes of 422 that the framework gives: what it refuses, the schema must refuse. All others are rules of ours, such as `one_peer`."""

OWN_VALIDATOR = "value_error"
"""pydantic's name of what a validator of ours refuses: a rule about several fields, which no schema tells."""

MADE = {"unknown_chat", "unknown_device", "unknown_path", "not_found"}
"""Codes of 404 that are about what a POST has made. Others are about something else that the path or the body names."""


@schemathesis.auth(refresh_interval=2)  # short: a route that was called may have ended the sign-in
class SignIn:
    """An access token of the user that the test has made."""

    def get(self, case: Any, context: Any) -> str:
        del case, context
        form = {
            "grant_type": "password",
            "username": os.environ["SCHEMATHESIS_USER"],
            "password": os.environ["SCHEMATHESIS_PASSWORD"],
        }
        answer = httpx.post(os.environ["SCHEMATHESIS_TOKEN_URL"], data=form)
        return str(answer.raise_for_status().json()["access_token"])

    def set(self, case: Any, data: str, context: Any) -> None:
        del context
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {data}"}


def _code(response: Any) -> str:
    try:
        return str(response.json().get("code"))
    except (ValueError, AttributeError):
        return ""


def _by_own_validator(response: Any) -> bool:
    errors = response.json().get("errors") or []
    return bool(errors) and all(error["type"] == OWN_VALIDATOR for error in errors)


@schemathesis.check
def described_data_is_taken(ctx: Any, response: Any, case: Any) -> bool | None:
    """`positive_data_acceptance`, except for rules that no schema can tell."""
    if response.status_code == 422 and (_code(response) not in BY_SCHEMA or _by_own_validator(response)):
        return None
    return checks.positive_data_acceptance(ctx, response, case)


def _left(ctx: Any, chat: Any) -> bool:
    """Whether a member was removed from that chat before, or left it: the caller may have been the one, and then sees it no more."""
    for earlier in ctx.internals.find_all_cases():
        gone = earlier.operation.method.upper() == "DELETE" or earlier.path.endswith("/leave")
        if gone and (earlier.path_parameters or {}).get("chat") == chat:
            return True
    return False


@schemathesis.check
def what_was_made_is_there(ctx: Any, response: Any, case: Any) -> bool | None:
    """`ensure_resource_availability`, except where the body names something that is not there, or the caller has left the chat."""
    if response.status_code != 404 or _code(response) not in MADE:
        return None
    if _code(response) == "unknown_chat" and _left(ctx, (case.path_parameters or {}).get("chat")):
        return None
    return checks.ensure_resource_availability(ctx, response, case)
