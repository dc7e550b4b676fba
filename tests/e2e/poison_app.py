"""An echo app that calls one text poison, until it is mended."""

import os

from penstock import sdk

app = sdk.App("poison")


@app.on_message
async def echo(message: sdk.Message) -> None:
    """Answer everything, or everything but one."""
    if message.text == "poison" and "MENDED" not in os.environ:
        raise sdk.Poisoned("not_today", "this app does not take that")
    await message.reply(f"You said: {message.text}")


if __name__ == "__main__":
    app.run()
