"""`nas device …`: one file a verb; the times of operators on a device."""
