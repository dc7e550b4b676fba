"""An app that stumbles once over `stumble`, and takes no `poison` before it is mended (a file that MENDED names)."""

import logging
import os
from pathlib import Path

from penstock import sdk

app = sdk.App("moody")
log = logging.getLogger("moody")
stumbled = set()


def mended() -> bool:
    return Path(os.environ["MENDED"]).exists()


@app.on_message
async def answer(message: sdk.Message) -> None:
    log.info("heard something")
    if message.text == "stumble" and message.event_id not in stumbled:
        stumbled.add(message.event_id)
        raise RuntimeError("over my own feet")
    if message.text == "poison" and not mended():
        raise sdk.Poisoned("too_bitter", "this app does not swallow that")
    await message.reply(f"You said: {message.text}")


if __name__ == "__main__":
    app.run()
