"""Tasks: embedding -> raw -> loss, or named outputs."""
