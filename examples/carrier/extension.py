"""What a distribution of its own offers Penstock: the channel's entry in the registry, and its adapter.

PENSTOCK_CHANNELS__ADAPTERS=examples.carrier.extension:carrier penstock up
"""

from typing import Final

from examples.carrier import channel_carrier
from penstock.channels import ports

REGISTRY: Final = """
[carrier]
title = "Carrier"
aliases = []

[carrier.config.api_url]
meaning = "Where the platform takes calls: an https URL (http only to this machine)."

[carrier.secret.signing]
meaning = "Signs what the platform posts; it is told when the webhook is registered there."
made = true

[carrier.secret.token]
meaning = "The bot's token, from its page on the platform."
made = false
"""


def carrier(*, timeout_s: float, tolerance_s: float) -> ports.Extension:
    """Called once by each process that enables it. Seconds: for one call, and by which clocks may be apart."""
    return ports.Extension(REGISTRY, channel_carrier.CarrierChannel(timeout_s=timeout_s, tolerance_s=tolerance_s))
