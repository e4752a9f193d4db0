"""Search spaces, and the zoo of published genomes. No torch."""
