"""An echo app that calls one text poison, until the file that MENDED_BY names is there."""

import os

from penstock import sdk

app = sdk.App("poison")


def mended() -> bool:
    """Whether somebody has mended it."""
    return os.path.exists(os.environ.get("MENDED_BY", ""))  # noqa: PTH110


@app.on_message
async def echo(message: sdk.Message) -> None:
    """Answer everything, or everything but one."""
    if message.text == "poison" and not mended():
        raise sdk.Poisoned("not_today", "this app does not take that")
    await message.reply(f"You said: {message.text}")


if __name__ == "__main__":
    app.run()
