"""People talk: what they say comes in, what apps answer goes out, on any channel.

In come signed webhooks and send commands; decided here are who may speak for an account, what is one event and what a
repetition, what a channel can do, and what became of every command; out go messages and receipts on the spine and
calls to platforms. What a message is about, and what to answer, does not belong here.
"""
