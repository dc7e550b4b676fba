"""From the `%s` that people write to the `$1` that the protocol wants; each text is read once per process."""

import functools
import re
from typing import Final

from penstock.base import errors

_MARK: Final = re.compile(r"%(.?)", re.DOTALL)


@functools.lru_cache(maxsize=2000)
def numbered(sql: str) -> bytes:
    """`%s` becomes `$1`, `$2`, ...; `%%` becomes `%`. Raises Broken for any other mark."""
    count = 0

    def replace(match: re.Match[str]) -> str:
        nonlocal count
        if match[1] == "%":
            return "%"
        if match[1] != "s":
            raise errors.Broken("bad_statement", f"'%{match[1]}' in a statement: only %s and %% are known")
        count += 1
        return f"${count}"

    return _MARK.sub(replace, sql).encode()
