"""Counts tokens that platforms no longer take: adapters go on with the other live one, and nobody would notice."""

from penstock.base import telemetry

counter = telemetry.counter(
    "penstock_outbound_token_refused_total",
    labels=("channel",),
    meaning="Calls that a platform refused because the account's token is not valid (any more). The account's other "
    "live token is tried next, where there is one.",
    remedy="A token was revoked or has expired: add the new one with 'penstock account secret add --kind token' and "
    "retire the old one. With none left that is valid, receipts say token_refused.",
)
