"""What must commit together with a room's rows, and what carries it on: the outbox, its publisher, the quarantine.

In come messages that a room's transaction wants sent, and deliveries that a consumer gave up; what is decided here is
in which order rows leave, when they count as sent, what a stream has lost and gets again, and what becomes of rows that
cannot leave; out go messages on the spine and rows that people list and redrive. What a message means, and which ones
there are, belongs to the rooms.
"""
