"""An echo app whose process is killed by one text: no exception, no last word, as by a crash in native code."""

import os
import signal

from penstock import sdk

app = sdk.App("deadly")


@app.on_message
async def echo(message: sdk.Message) -> None:
    """Answer everything, and die of one thing."""
    if message.text == "deadly":
        os.kill(os.getpid(), signal.SIGKILL)
    await message.reply(f"You said: {message.text}")


if __name__ == "__main__":
    app.run()
