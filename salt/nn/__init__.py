"""Layers: tensors in, tensors out; no config, no labels, no files."""
