"""The room's own tables in Postgres: accounts and secrets, messages, commands.

In come decided facts, out go rows; each write that something else must hear of commits together with its outbox row.
Every statement names the tenant, and row-level security is the second wall. No decision is made here.
"""
