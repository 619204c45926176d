"""Auth hooks: other MQTT brokers ask here whom to let in and what they may. The rules are those of our own broker."""
