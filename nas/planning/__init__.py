"""What a folder, a budget and a machine allow, worked out before anything is spent."""
