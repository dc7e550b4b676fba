"""What the documents for authors of apps tell people to type works."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCUMENTS = Path(__file__).parents[3] / "docs"
BLOCK = re.compile(r"^```python\n# file: (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", ["tutorial/first-app.md", "how-to/write-an-app.md", "how-to/test-an-app.md"])
def test_the_files_of_a_document_work_together(name: str, tmp_path: Path) -> None:
    files = BLOCK.findall((DOCUMENTS / name).read_text("utf-8"))
    assert files
    for file, text in files:
        (tmp_path / file).write_text(text, "utf-8")
    tests = [file for file, _ in files if file.startswith("test_")]
    command = ["-m", "pytest", "-q", "-o", "asyncio_mode=auto", *tests] if tests else [file for file, _ in files][:1]
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, *command], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
