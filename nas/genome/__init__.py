"""Genomes: one architecture as data, its lowering to units, and its canonical key. No torch."""

from nas.genome.genome import Genome
from nas.genome.maps import Shape
from nas.genome.plan import plan
from nas.genome.units import Port, Unit

__all__ = ["Genome", "Port", "Shape", "Unit", "plan"]
