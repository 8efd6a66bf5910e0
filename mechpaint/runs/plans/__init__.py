"""What each kind of analysis will run: its cells, configuration and schema."""
