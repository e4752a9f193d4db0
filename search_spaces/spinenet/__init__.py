"""SpineNet's space: permuted blocks, their connections, and its published networks."""
