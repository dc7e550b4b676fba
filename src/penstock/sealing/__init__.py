"""Envelope encryption: what must not be readable in a backup is sealed before it becomes a row.

In come plain bytes and where they will live (tenant, purpose, owner); decided here are the key they are sealed with,
how keys are kept (a data key per tenant and purpose, wrapped under a key-encryption key from outside the database) and
who may open them again; out go sealed bytes. Who may see a secret is the room's business, as is the row that holds it.
"""
