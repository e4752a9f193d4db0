"""The zoo: published detectors as genomes, each with what was published and what we count.

`names` lists them, `genome` makes one, `entry` returns its numbers and their source. The entries
stand in the families' own `zoo` modules.
"""

from __future__ import annotations

import difflib

from nas.errors import GenomeError
from nas.genome import Genome
from search_spaces.mobile.zoo import mobile_entries
from search_spaces.spinenet.zoo import spinenet_entries
from search_spaces.zoo_entry import Entry

_ENTRIES = {entry.name: entry for entry in (*spinenet_entries(), *mobile_entries())}


def names() -> tuple[str, ...]:
    """Returns the names of all entries."""
    return tuple(_ENTRIES)


def entry(name: str) -> Entry:
    """Returns the entry of a name; case and underscores make no difference.

    Raises:
        GenomeError: names the nearest known entries.
    """
    spelling = name.lower().replace("_", "-")
    if spelling in _ENTRIES:
        return _ENTRIES[spelling]
    near = difflib.get_close_matches(spelling, _ENTRIES, n=2) or list(_ENTRIES)
    raise GenomeError(f"no zoo entry {name!r}; did you mean {' or '.join(near)}?")


def genome(name: str) -> Genome:
    """Returns the genome of a zoo entry.

    Raises:
        GenomeError: for an unknown name.
    """
    return entry(name).make()
