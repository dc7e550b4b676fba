"""The command line: parse, call, print.

In come arguments; nothing is decided here but words, columns and exit codes; out go tables or JSON. Every verb calls
the same service that an API would.
"""
