"""What jobs show while they work: the console, bars, tables, pictures and logs."""
