"""The running agent: its start, its tasks, and the places where it meets the world."""
