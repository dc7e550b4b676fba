"""Penstock: the self-hosted backend for assistants that live in chat.

Messages come in through `channels`, travel on the `spine`, are remembered by `state`, and are answered by apps
written with `sdk`. `app` is the one place where all rooms meet; `cli` parses, calls and prints.
"""

__version__ = "0.1.0"
