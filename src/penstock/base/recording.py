"""Whether a process records spans, and for how long: from its start to its drain, as the settings say."""

import asyncio
import contextlib
import os
import platform
from collections.abc import AsyncGenerator
from typing import Final

import penstock
from penstock.base import ids, telemetry, telemetry_settings

FLUSH_S: Final = 2.0
"""How long a process that ends waits for the collector to take what it has not sent yet."""


@contextlib.asynccontextmanager
async def recording(
    settings: telemetry_settings.TelemetrySettings, service: str, *, roles: str = ""
) -> AsyncGenerator[None]:
    """Record spans inside, as those of `service`; what is left in the end is sent, for `FLUSH_S`.

    They go to the collector that the settings name, else to a provider of OpenTelemetry's that the process may have,
    else nowhere, and then none is made. Raises Rejected for headers that are none.
    """
    if not settings.traces_url:
        telemetry.trace_as_configured()
        yield
        return
    from penstock.base import otlp  # not before it is wanted: it brings its messages along

    resource = {
        "service.name": service,
        "service.namespace": "penstock",
        "service.version": penstock.__version__,
        "service.instance.id": ids.new_id(),
        "host.name": platform.node(),
        "process.pid": str(os.getpid()),
        "penstock.roles": roles,
    }
    exporter = otlp.Exporter(settings.traces_url, settings.headers(), resource)
    telemetry.trace_through(otlp.Recorder(exporter, share=settings.otlp_share))
    try:
        yield
    finally:
        telemetry.trace_through(None)
        await asyncio.to_thread(exporter.close, FLUSH_S)
