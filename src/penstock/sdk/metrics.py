"""What every app counts without its author doing anything; deliveries and retries are counted by the spine's worker."""

from penstock.base import telemetry

events = telemetry.counter(
    "penstock_app_events_total",
    labels=("app", "kind", "outcome"),
    meaning="Runs of an app for one event, by outcome: handled, ignored (no handler wants it), failed.",
    remedy="failed: read the log line 'handler failed'; the event is in quarantine once its attempts are used up.",
)
commands = telemetry.counter(
    "penstock_app_commands_total",
    labels=("app", "act"),
    meaning="What an app sent, by act: say, reply, reaction, edit, deletion. Repeated runs count again.",
    remedy="Many more than events handled: the app repeats itself; look for retries of its consumer.",
)
seconds = telemetry.histogram(
    "penstock_app_seconds",
    labels=("app",),
    meaning="Seconds one run of an app's handler took, what it sends included.",
    remedy="A slow handler holds up its own conversation only; raise concurrency when other conversations wait.",
)
