"""`pabal admin …`: administration of a running stack, through its API."""
