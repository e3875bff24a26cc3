"""FOCUS, spend and usage as files: what they hold, and how a file is written whole."""
