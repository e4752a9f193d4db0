"""What a genome costs: parameters, multiply-adds, stored bits, time by a table.  No torch."""

from nas.cost.latency import CostSettings, LatencyTable, Table, latency_ms, read_table
from nas.cost.latency.signature import signatures
from nas.cost.latency.table import DeviceTable
from nas.cost.profile import Profile, profile
from nas.cost.units import Cost, unit_cost

__all__ = [
    "Cost",
    "CostSettings",
    "DeviceTable",
    "LatencyTable",
    "Profile",
    "Table",
    "latency_ms",
    "profile",
    "read_table",
    "signatures",
    "unit_cost",
]
