"""The rules row by row, one tenant at a time: a second way to every figure, plain and slow."""
