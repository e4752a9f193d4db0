"""What a genome costs: parameters, multiply-adds, stored bits, time by a table.  No torch."""

from nas.cost.latency import CostSettings, LatencyTable, latency_ms
from nas.cost.profile import Profile, profile
from nas.cost.signature import signatures
from nas.cost.units import Cost, unit_cost

__all__ = [
    "Cost",
    "CostSettings",
    "LatencyTable",
    "Profile",
    "latency_ms",
    "profile",
    "signatures",
    "unit_cost",
]
