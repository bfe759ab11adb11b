"""The command line: what the user wrote, completed, checked, and handed to the rooms that do the work."""
