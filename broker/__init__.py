"""The MQTT broker process: sockets, routing, policy, acknowledgement after store.

Read in this order: `connection.py` (one client's packets), `publishing.py` and `subscribing.py` (what they ask for), `router.py`
(where a message goes), `ingest.py` (why its PUBACK waits), `wills.py` (what a client leaves), `broker.py` (who comes and goes),
`core.py` (what they share), `policy.py` and `chat_policy.py` (who may what), `app.py` (how it is put together).
"""
