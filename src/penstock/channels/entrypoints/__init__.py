"""What calls this room from outside: webhooks of platforms, and the terminal's stream of replies."""
