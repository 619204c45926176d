"""The bridge: from what clients publish to what is stored, ordered, fanned out and receipted.

| file | what it does |
|---|---|
| `app.py` | constructs everything, routes what the link brings, drains |
| `gather.py` | lines per chat, from which batches are taken |
| `ingest.py` | the life of a batch: decode, filter, commit, fan out, settle |
| `decode.py` | payloads to `Send` |
| `filters/`, `screening.py` | a chain of refusals, which repeats pass |
| `members.py`, `admission.py`, `rights.py` | who may write, and who may change what |
| `order.py` | the head of each chat in memory, holes filled with `void` events |
| `commit.py`, `repeats.py` | `seq`, `n`, one write, both fences |
| `fanout.py`, `rejects.py` | what goes back to the broker |
| `receipts.py`, `claims.py`, `receipt_updates.py` | watermarks, coalesced |
| `syncing.py` | pages for those who were away |
| `pushes.py`, `withdrawals.py` | push marks with their jobs, notifications that are taken back |
| `presence.py`, `touches.py`, `dead_letters.py`, `metrics.py`, `trouble.py` | the rest |
"""
