"""MQTT 3.1.1 and 5.0 without I/O: bytes in, packets out; packets and a clock in, bytes and effects out.

No socket, no await, no clock of its own, and nothing of Pabal above it: the engine knows topics, sessions and
subscriptions, not chats.
"""
