"""HTTP outside: route a request to the room that answers it, turn errors into problems, probe and measure.

In come requests; decided here are how many at once, which room, and what an error looks like outside (RFC 9457);
out go the rooms' answers with a request id. What a request means belongs to the room that it is mounted for.
"""
