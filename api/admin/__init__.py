"""Administration: a folder per resource, for administrators and, as far as `chat.permissions` lets them, moderators."""
