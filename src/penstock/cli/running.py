"""`penstock up`, `run` and `demo`: what keeps running until it is told to stop."""

from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli import output, verb

if TYPE_CHECKING:
    from penstock.app import demo as demonstration


def up(data: verb.Data = None, as_json: verb.AsJson = False) -> None:
    """Run everything on this machine until Ctrl-C.

    Example: penstock up --data ./data
    """

    async def work() -> None:
        from penstock.app import configuration
        from penstock.app import up as supervisor

        settings = configuration.load(data_folder=data)
        await supervisor.run(settings, output.document if as_json else output.line, as_json=as_json)

    verb.run(work, as_json=as_json)


def run(
    roles: Annotated[list[str], typer.Argument(help="inbound, outbound, state; channels, all.")],
    as_json: verb.AsJson = False,
) -> None:
    """Run roles against PENSTOCK_NATS_URL and PENSTOCK_POSTGRES_URL.

    Example: penstock run channels state
    """

    async def work() -> None:
        import os

        from penstock.app import configuration, process

        await process.run(roles, configuration.load(), os.environ)

    verb.run(work, as_json=as_json, fast=True)


def demo(
    conversations: Annotated[int, typer.Option(min=1, max=10_000, help="How many conversations to hold.")] = 60,
    as_json: verb.AsJson = False,
) -> None:
    """Hold conversations on every channel and count. All in a temporary folder; nothing is left.

    Example: penstock demo
    """

    async def work() -> "demonstration.Report":
        from penstock.app import demo as demonstration
        from penstock.base import telemetry

        telemetry.configure_logs(level="error")
        output.note("Starting nats-server, Postgres, the core and the echo app in a temporary folder ...")
        return await demonstration.run(conversations, output.progress)

    report = verb.run(work, as_json=as_json)
    if as_json:
        output.document(report)
    else:
        _show(report)
    if not report.good:
        raise typer.Exit(output.FAILED)


def _show(report: "demonstration.Report") -> None:
    rows = [
        *(
            (f"{channel}: messages in, replies out", f"{counted.messages_in}, {counted.replies_out}")
            for channel, counted in report.channels.items()
        ),
        ("latency, webhook to reply", f"p50 {report.p50_ms:.1f} ms, p95 {report.p95_ms:.1f}, p99 {report.p99_ms:.1f}"),
        ("duplicate webhooks", f"{report.duplicates_sent} sent, {report.duplicates_suppressed} suppressed"),
        ("doubled replies", report.doubled),
        ("out of order", report.out_of_order),
        ("protocol faults seen", report.faults),
        ("seconds", f"{report.seconds:.1f}"),
    ]
    output.table(["what", "count"], rows, empty="")
    output.line(f"{report.lost} lost")
