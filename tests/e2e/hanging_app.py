"""An echo app that hangs on one text the first time it hears it, and says on standard output when it tries."""

import asyncio
import os

from penstock import sdk

app = sdk.App("hanging", deadline_s=float(os.environ["DEADLINE_S"]))
tried = set[str]()


@app.on_message
async def echo(message: sdk.Message) -> None:
    """Answer, but hang once."""
    if message.text == "hang":
        print("tries", flush=True)
        if message.text not in tried:
            tried.add(message.text)
            await asyncio.Event().wait()
    await message.reply(f"You said: {message.text}")


if __name__ == "__main__":
    app.run()
