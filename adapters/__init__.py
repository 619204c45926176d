"""The outside, for more than one process: stores, Valkey, the MQTT link, tokens, jobs, logs, metrics; and the in-memory twin of each port."""
