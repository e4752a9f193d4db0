"""Mobile detectors' space: a backbone cut anywhere, a neck, a head and an input."""
