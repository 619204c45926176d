"""The MQTT broker process: sockets, routing, policy, acknowledgement after store.

Read in this order: `connection.py` (one client's packets), `router.py` (where a message goes), `ingest.py` (why its PUBACK
waits), `registry.py` (whose session is whose), `policy.py` and `chat_policy.py` (who may what), `app.py` (how it is put together).
"""
