"""Every HTTP route of an installation, and what somebody who has one tenant's secrets gets to hear of another there."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import penstock
from penstock.edge.entrypoints import probes

OF_NO_TENANT: Final[Mapping[str, str]] = {
    "/health": "about the process",
    "/metrics": "about the process; no label is a tenant's",
}
OF_A_TENANT: Final[Mapping[str, str]] = {
    "/ready": "with ?tenant=NAME: whether that tenant may be served, which is no secret",
    "/webhooks/": "signed with the account's secret",
    "/v1/terminal/": "signed with the account's secret",
}


def served() -> set[str]:
    """Every path that the edge answers to: the probes, and what is mounted anywhere in the sources."""
    return {*probes.PATHS, *_mounted(Path(penstock.__file__).parent)}


def _mounted(package: Path) -> Iterator[str]:
    for path in package.rglob("*.py"):
        text = path.read_text("utf-8")
        if "Mount(" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "Mount":
                yield ast.literal_eval(node.args[0])
