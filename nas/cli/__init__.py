"""The command `nas`: its arguments, its errors and its exit codes; no work."""
