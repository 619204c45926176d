"""What the routes about the second factor take and answer."""

from __future__ import annotations

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from api.auth.password_rules import MAX_LENGTH

MAX_CODE = 32


class Begin(BaseModel):
    """`POST /v1/me/second-factor`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    password: str = Field(
        max_length=MAX_LENGTH, repr=False, description="the account's", examples=["파발은 밤에도 달린다"]
    )


class Code(BaseModel):
    """`POST /v1/me/second-factor/confirm`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    code: str = Field(max_length=MAX_CODE, repr=False, description="of the authenticator app", examples=["492039"])


class Remove(BaseModel):
    """`POST /v1/me/second-factor/remove`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    password: str = Field(max_length=MAX_LENGTH, repr=False, examples=["파발은 밤에도 달린다"])
    code: str = Field(max_length=MAX_CODE, repr=False, description="or a recovery code", examples=["492039"])


class FactorState(msgspec.Struct):
    """Whether signing in asks for a code, and how many recovery codes are left."""

    enabled: bool
    recovery_codes: int


class NewFactor(msgspec.Struct):
    """What the authenticator app is told: `uri` as a QR code, or `secret` typed. Shown once."""

    secret: str
    uri: str


class RecoveryCodes(msgspec.Struct):
    """Each stands for one code of the app that is lost. Shown once: keep them on paper."""

    recovery_codes: list[str]


FACTOR_EXAMPLE = {"enabled": True, "recovery_codes": 10}
NEW_FACTOR_EXAMPLE = {
    "secret": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
    "uri": "otpauth://totp/Pabal:haneul?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Pabal",
}
RECOVERY_EXAMPLE = {"recovery_codes": ["k7wq-3m2x-v9dh-4tzc-8pnr-y5gs"]}
