"""The platforms we call and that call us, one file each: `channel_<name>.py`, class `<Name>Channel`.

Each implements `ports.Channel` and passes `channels.testing.check_channel`; a vendor's library stands nowhere else.
"""
