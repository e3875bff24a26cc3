"""Pages: for each what it reads, and which template it becomes."""
