"""Clients of Pabal: the SDK, and the demo on it. They know the topics and envelopes of `chat/`, and no server package."""
