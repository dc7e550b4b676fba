"""The one place where all rooms meet: configuration, the table of roles, the processes that run them, and the demo.

In come settings and a list of roles; decided here is what is joined to what; out go running processes. Everything that
could be decided inside one room is decided there.
"""
