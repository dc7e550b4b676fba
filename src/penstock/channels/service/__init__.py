"""The use cases: take in what people say, send what apps say, keep accounts, show a terminal its replies.

In come verified requests, decoded commands and operators' wishes; out go rows, receipts and calls of adapters. This is
all that entrypoints and consumers call; how HTTP or the spine look is not known here.
"""
