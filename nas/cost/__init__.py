"""What a genome costs: parameters, multiply-adds, stored bits.  No torch."""

from nas.cost.profile import Profile, profile
from nas.cost.units import Cost, unit_cost

__all__ = ["Cost", "Profile", "profile", "unit_cost"]
