"""An app for the tests: answers twice with a pause between, and says which process it was."""

import asyncio
import os

from penstock import sdk

app = sdk.App("counting")
PAUSE_S = float(os.environ.get("PAUSE_S", "0.005"))


@app.on_message
async def answer(message: sdk.Message) -> None:
    await message.reply(f"{message.text} first", attachments=[sdk.Attachment(f"pid-{os.getpid()}")])
    await asyncio.sleep(PAUSE_S)
    await message.reply(f"{message.text} second", attachments=[sdk.Attachment(f"pid-{os.getpid()}")])


if __name__ == "__main__":
    app.run()
