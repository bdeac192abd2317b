"""Measurements, run by hand: `make benchmark`. They print counts and rates, and assert nothing."""
