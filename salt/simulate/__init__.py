"""Simulated proton-proton collisions: events -> jets -> tracks -> files, for a demo without a download."""
