"""What `--help` says of every verb, at a width of 80. A word that goes breaks somebody's script or memory.

`REFRESH=1 pytest tests/golden/test_cli_help.py` writes the file; the change then shows in review.
"""

import os
from pathlib import Path

from tests.unit.cli import calling, tree

GOLDEN = Path(__file__).with_name("cli_help.txt")


def test_help_says_what_it_said() -> None:
    pages = [f"$ {name} --help\n{calling.call(*name.split()[1:], '--help').out}" for name, _ in tree.commands()]
    text = "\n".join(pages)
    if os.environ.get("REFRESH"):
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")
