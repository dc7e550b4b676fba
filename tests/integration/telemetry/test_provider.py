"""Spans go to the provider that the process has, and nowhere when it has none."""

import subprocess
import sys

from penstock.base import telemetry

PROGRAM = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from penstock.base import context, ids, telemetry

kept = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(kept))
trace.set_tracer_provider(provider)
telemetry.trace_as_configured()
with telemetry.span("work", context.start(ids.TenantId("acme")), "client"):
    pass
print([(span.name, span.kind.name) for span in kept.get_finished_spans()])
"""


def test_a_provider_of_the_process_is_used():
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.strip() == "[('work', 'CLIENT')]"


def test_without_a_provider_nothing_is_recorded():
    telemetry.trace_as_configured()
    assert not telemetry.tracing()
