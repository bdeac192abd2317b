"""Plausible French companies, the same for the same seed and starting time."""
