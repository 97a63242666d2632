"""The mesh of one team: what chat says and what the paths are, made into a wanted device."""
