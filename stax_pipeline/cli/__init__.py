"""The command `stax`: a module per group of commands in `commands`, and what they share."""
