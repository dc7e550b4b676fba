"""Everything one room may say to another: the generated classes of `proto/penstock/v1` and nothing written by hand.

Words here are public and only ever grow; facts that a room stores for itself live in that room's `model`. What a
message's header or subject looks like is the spine's business.
"""
