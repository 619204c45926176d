"""The vocabulary of Pabal: ids, topics, envelopes, permissions, watermarks, errors and ports.

Pure code: no socket, no await that does I/O, nothing from outside but msgspec. Every other package may import
this one; this one imports none of them.
"""
