"""Where the example apps are: inside an installed distribution, or beside `src` in a checkout."""

from pathlib import Path

import penstock
from penstock.base import errors


def path(name: str) -> Path:
    """The folder of an example. Raises Broken when the distribution was built without it."""
    package = Path(penstock.__file__).parent
    for folder in (package / "examples", package.parent.parent / "examples"):
        if (folder / name).is_dir():
            return folder / name
    raise errors.Broken("no_example", f"this distribution holds no example '{name}'")
