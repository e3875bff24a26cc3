"""One installation on its machine: settings, where its home is, who owns its files, what its processes are handed."""
