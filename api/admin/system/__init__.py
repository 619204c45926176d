"""Health and settings of every process."""
