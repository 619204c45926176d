"""Valkey (or Redis): what processes share and may lose. With an emptied Valkey the system is slower, never wrong.

| key | shape | lives |
|---|---|---|
| `presence:{broker}` | hash: principal -> connections; the field `` (empty) marks a table that `replace` wrote whole | 30 s, each beat anew |
| `presence:brokers` | set: names of brokers that have a table; the dead are taken out when it is read | for ever, one entry per broker |
| `pabal:invalidate` | channel: `chat.envelopes.Invalidation` as JSON | while listeners are connected |
| `rate:{key}` | hash: `tokens` (float), `at` (server time, seconds): a token bucket | until the bucket would be full |
| `recent:{chat}` | string: the newest stored events as JSON, dense and rising (`chat.folding` tells why a copy of any age is of use) | 1 day |
| `push:{chat}:lease` | string: who pushes the chat's messages now, or `wait` while it has to rest after a push | the lease, the rest |
| `push:{chat}:pushed` | hash: `t:` and a hash of a push token, `u:` and a user -> `seq:milliseconds`: the newest event that they were pushed | 1 day |
| `push:{message id}:swept` | string: the sweeper leaves the event alone | as long as a job may take, or waits |
| `job:{name and arguments}:starts` | string: how often the job was begun and took its process along | a day, or until it ends |
| `lease:{name}` | string: who has it: `lease:beat` the worker that starts the regular jobs | the lease |
| `jobs:*` | Celery's queues (`jobs:push`, `jobs:maintenance`, …), what is unacknowledged, bindings | until done |

Every command is bounded by timeouts, the pool by its size; what Valkey or the way to it does wrong is raised as
`chat.errors.Unavailable`.
"""

from __future__ import annotations

from adapters.valkey.connection import Valkey, connect, healthy
from adapters.valkey.invalidations import ValkeyInvalidations
from adapters.valkey.job_starts import ValkeyJobStarts
from adapters.valkey.lease import ValkeyLease
from adapters.valkey.presence import ValkeyPresence
from adapters.valkey.push_progress import ValkeyPushProgress
from adapters.valkey.ratelimit import ValkeyRateLimiter
from adapters.valkey.recents import ValkeyRecents

__all__ = [
    "Valkey",
    "ValkeyInvalidations",
    "ValkeyJobStarts",
    "ValkeyLease",
    "ValkeyPresence",
    "ValkeyPushProgress",
    "ValkeyRateLimiter",
    "ValkeyRecents",
    "connect",
    "healthy",
]
