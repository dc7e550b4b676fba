"""An echo app with a secret of its own in its environment, which breaks, gives up and dies when it is told to."""

import os
import signal

from penstock import sdk

app = sdk.App("careless")


@app.on_message
async def echo(message: sdk.Message) -> None:
    """Answer, unless the text ends with what shall go wrong."""
    assert os.environ["CARELESS_SECRET"]
    match message.text.rpartition(" ")[2]:
        case "break":
            raise RuntimeError("broken on purpose")
        case "poison":
            raise sdk.Poisoned("not_today", "this app does not take that")
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case _:
            await message.reply(f"You said: {message.text}")


if __name__ == "__main__":
    app.run()
