"""What a run leaves behind: its values, its files, and how trials are ranked."""
