"""What the channels room knows and decides, without I/O: accounts and secrets, events, commands and their outcomes.

In come facts (a row as it was found, an error that a platform gave, the clock); out go decisions (send it, refuse it,
nobody knows). Where rows and platforms are is not known here.
"""
