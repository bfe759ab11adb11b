"""Training: a step of Lightning, a schedule of the learning rate."""
