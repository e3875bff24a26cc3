"""One file that holds an installation but its master key, and an installation made of it again."""
