"""Each bound of the broker is a setting (promise P8)."""

from __future__ import annotations

from dataclasses import fields

from broker.limits import DEFAULTS, Limits
from broker.settings import LimitSettings


def test_every_limit_can_be_set_and_has_its_default() -> None:
    assert set(LimitSettings.model_fields) == {field.name for field in fields(Limits)}
    assert LimitSettings().limits() == DEFAULTS
