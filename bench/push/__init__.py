"""What pushing costs: pushes per second of one worker process, and how long after a message is stored its push goes out."""
