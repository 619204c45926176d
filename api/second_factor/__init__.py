"""A second factor beside the password: TOTP, with recovery codes."""
