"""What operators hear of without asking: causes, figures, messages, channels, and what was delivered."""
