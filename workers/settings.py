"""Settings of the worker, from the environment (prefix `PABAL_`)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from adapters.tracing import TracingSettings


class WorkerSettings(TracingSettings, BaseSettings):
    """What the worker is told. Times are seconds.

    Attributes:
        fcm_service_account_file: Google's key file; without one nobody is pushed and events lose their push mark unread.
        worker_concurrency: pool processes. A push mostly waits for the provider and sends from `worker_push_threads` threads; the
            second process is there so that one stuck job does not stop the others.
        worker_task_seconds: a job that takes longer is killed with its process.
        worker_longest_wait: how long a job may wait for its next try. What the provider wants to wait longer is left to the sweeper.
        worker_push_tries: after so many a push goes to dead letters; ten tries take about a quarter of an hour.
        worker_push_max_age: an event older than this is not pushed any more but goes to dead letters.
        worker_beat: whether this worker starts the regular jobs; several that do so do no harm.
    """

    model_config = SettingsConfigDict(env_prefix="PABAL_", extra="ignore")

    log_level: str = "info"
    log_format: Literal["console", "json"] = "console"

    mongo_url: str
    mongo_database: str = "pabal"
    valkey_url: str = "redis://127.0.0.1:6479/0"

    mqtt_host: str = "127.0.0.1"
    mqtt_port: int = Field(default=1883, ge=1, le=65535)
    link_secret_file: Path | None = None
    """The secret of svc-worker; without one this worker tells no broadcasts."""

    fcm_service_account_file: Path | None = None
    fcm_endpoint: str = "https://fcm.googleapis.com"

    worker_http: str = "127.0.0.1:9103"
    worker_state_dir: Path = Path("var/worker")
    worker_concurrency: int = Field(default=2, ge=1, le=64)
    worker_task_seconds: float = Field(default=60.0, ge=1.0)
    worker_longest_wait: float = Field(default=300.0, ge=1.0)
    worker_beat: bool = True

    worker_push_grace: float = Field(default=3.0, ge=0)
    """Seconds that somebody who looks connected has to acknowledge a message before they are pushed for it all the same."""
    worker_push_threads: int = Field(default=8, ge=1, le=32)
    worker_push_tries: int = Field(default=10, ge=1)
    worker_push_max_age: float = Field(default=12 * 3600.0, gt=0)
    worker_sweep_every: float = Field(default=15.0, gt=0)
    worker_erase_every: float = Field(default=60.0, gt=0)
    worker_statistics_every: float = Field(default=300.0, gt=0)
    worker_broadcast_every: float = Field(default=5.0, gt=0)
    worker_audit_log_every: float = Field(default=3600.0, gt=0)
    worker_sweep_age: float = Field(default=30.0, ge=0)
    """How old a push mark is before the sweeper takes its job for lost."""

    @property
    def visibility_seconds(self) -> float:
        """When a job that was handed out and not acknowledged is handed out again.

        A job waits for its next try, then for its turn behind one other in its pool process, then runs. With less than that, and
        some room, jobs that are well would run twice.
        """
        return self.worker_longest_wait + 5 * self.worker_task_seconds
