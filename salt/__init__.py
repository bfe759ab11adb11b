"""salt trains jet taggers: collisions to ROC curves, from YAML configs."""

__version__ = "0.1.0"
