"""The worker process: Celery jobs (pushes, sweeps) and the clock that starts the regular ones."""
