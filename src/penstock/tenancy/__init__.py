"""Whose it is: tenants and their life.

In come an operator's decisions; decided here is who exists and may act; out go answers to rooms that must know. What a
tenant's people say, and the accounts they say it through, belong to other rooms.
"""
