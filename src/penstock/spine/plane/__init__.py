"""The data plane: our own client of NATS, for what happens thousands of times a second.

Bytes of a server come in and are parsed and dispatched where they arrive; what is published goes out in as few writes
as there are turns of the event loop. Decided here: how a connection is made, kept, left and made again, and what each
error of the server means. Out go messages to receivers and answers to callers. Streams, consumers, buckets and what a
message is for do not belong here, nor does a vendor's library.
"""
