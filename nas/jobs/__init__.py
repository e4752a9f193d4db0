"""What the command does, one file per verb."""
