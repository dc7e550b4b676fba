"""The smallest app that is still a whole one: it answers everything that can happen in a conversation."""

from penstock import sdk

app = sdk.App("echo")


@app.on_message
async def echo(message: sdk.Message) -> None:
    """Say back what was said, or name the files that came."""
    if message.attachments:
        await message.reply(f"Got {', '.join(file.name for file in message.attachments)}")
    else:
        await message.reply(f"You said: {message.text}")


@app.on_edit
async def edited(message: sdk.Message) -> None:
    """Say what it says now."""
    await message.reply(f"Edited: {message.text}")


@app.on_reaction
async def reacted(message: sdk.Message) -> None:
    """Name the emoji."""
    await message.reply(f"Saw {message.reaction}")


@app.on_deletion
async def deleted(message: sdk.Message) -> None:
    """There is no message left to reply to; this goes to the conversation."""
    await message.reply("Forgot it")


if __name__ == "__main__":
    app.run()
