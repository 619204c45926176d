"""Settings of the worker, from the environment (prefix `PABAL_`)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from adapters.tracing import TracingSettings
from chat import jobs


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
        worker_queues: what this worker works on, with commas; empty: on everything.
        worker_visibility: after so long a job that was taken and not acknowledged is handed out again; by default as long as it needs to be.
        worker_beat: whether this worker may start the regular jobs; of those that may, one does.
        worker_events: tell Celery's monitoring what happens to each job (`flower`), and obey its remote control.
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
    vapid_dir: Path | None = None
    """The keys by which push services of browsers know us; without one no browser is pushed to but through FCM."""
    vapid_contact: str = "mailto:postmaster@localhost"

    worker_http: str = "127.0.0.1:9103"
    worker_state_dir: Path = Path("var/worker")
    worker_concurrency: int = Field(default=2, ge=1, le=64)
    worker_task_seconds: float = Field(default=60.0, ge=1.0)
    worker_longest_wait: float = Field(default=300.0, ge=1.0)
    worker_queues: str = ""
    worker_visibility: float | None = None
    worker_beat: bool = True
    worker_events: bool = False

    worker_push_grace: float = Field(default=3.0, ge=0)
    """Seconds that somebody who looks connected has to acknowledge a message before they are pushed for it all the same."""
    worker_push_rest: float = Field(default=3.0, ge=0)
    """Seconds that a chat rests after a push: what is written meanwhile is one more push, however much it is."""
    worker_push_rate: float = Field(default=8_000.0, gt=0)
    """Pushes per second of all workers together. FCM gives a project 600,000 per minute by default; this stays a fifth below."""
    worker_push_threads: int = Field(default=8, ge=1, le=32)
    worker_push_tries: int = Field(default=10, ge=1)
    worker_push_max_age: float = Field(default=12 * 3600.0, gt=0)
    worker_sweep_every: float = Field(default=15.0, gt=0)
    worker_erase_every: float = Field(default=60.0, gt=0)
    worker_statistics_every: float = Field(default=300.0, gt=0)
    worker_broadcast_every: float = Field(default=5.0, gt=0)
    worker_audit_log_every: float = Field(default=3600.0, gt=0)
    worker_retention_every: float = Field(default=600.0, gt=0)
    worker_retention_days: int = Field(default=0, ge=0, le=36_500)
    """For so many days what is said in chats is kept; 0: for ever. A chat may keep it for less."""
    worker_receipts_every: float = Field(default=3600.0, gt=0)
    worker_receipts_days: int = Field(default=30, ge=1, le=36_500)
    """Receipts that are older are folded, day by day."""
    worker_tidy_every: float = Field(default=3600.0, gt=0)
    worker_push_token_days: int = Field(default=270, ge=1, le=36_500)
    """A push token that no app has brought for so long is forgotten: as long as FCM itself keeps one that is not used."""
    worker_audit_every: float = Field(default=600.0, gt=0)
    worker_audit_memberships: int = Field(default=2_000, ge=1)
    """Memberships whose unread count is counted anew per run."""
    worker_audit_repair: bool = False
    worker_sweep_age: float = Field(default=30.0, ge=0)
    """How old a push mark is before the sweeper takes its job for lost."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        """What would only show when jobs run twice, or not at all, is an error at the start."""
        if unknown := sorted(set(self.queues) - set(jobs.QUEUES)):
            raise ValueError(f"PABAL_WORKER_QUEUES: {', '.join(unknown)}: queues are {', '.join(jobs.QUEUES)}")
        if self.visibility_seconds < self.least_visibility:
            raise ValueError(
                f"PABAL_WORKER_VISIBILITY is {self.visibility_seconds:g}, and a job may take {self.least_visibility:g} s "
                "(PABAL_WORKER_LONGEST_WAIT and a tenth, two PABAL_WORKER_TASK_SECONDS): it would be handed out while it still runs"
            )
        return self

    @property
    def least_visibility(self) -> float:
        """A job waits for its next try, then for its turn behind one other in its pool process, then runs."""
        return 1.1 * self.worker_longest_wait + 2 * self.worker_task_seconds

    @property
    def visibility_seconds(self) -> float:
        """When a job that was handed out and not acknowledged is handed out again."""
        if self.worker_visibility is not None:
            return self.worker_visibility
        return 1.1 * self.worker_longest_wait + 5 * self.worker_task_seconds

    @property
    def queues(self) -> tuple[str, ...]:
        """What this worker works on."""
        return tuple(part.strip() for part in self.worker_queues.split(",") if part.strip()) or jobs.QUEUES

    @property
    def every(self) -> dict[str, float]:
        """How often each regular job runs, in seconds."""
        return {
            jobs.SWEEP_PUSHES: self.worker_sweep_every,
            jobs.ERASE_EXPIRED: self.worker_erase_every,
            jobs.RETAIN: self.worker_retention_every,
            jobs.COMPACT_RECEIPTS: self.worker_receipts_every,
            jobs.TIDY_TOKENS: self.worker_tidy_every,
            jobs.ROLL_UP: self.worker_statistics_every,
            jobs.AUDIT_UNREAD: self.worker_audit_every,
            jobs.BROADCAST: self.worker_broadcast_every,
            jobs.VERIFY_AUDIT_LOG: self.worker_audit_log_every,
        }
