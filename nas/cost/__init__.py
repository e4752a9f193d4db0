"""What a genome costs: parameters, multiply-adds, stored bits, time by a table. No torch."""

from nas.cost.latency import CostSettings, latency_ms, read_table
from nas.cost.latency.table import DeviceTable, LatencyTable, families
from nas.cost.profile import Profile, profile
from nas.cost.units import Cost, unit_cost

__all__ = [
    "Cost",
    "CostSettings",
    "DeviceTable",
    "LatencyTable",
    "Profile",
    "families",
    "latency_ms",
    "profile",
    "read_table",
    "unit_cost",
]
