"""No import hides in a function because two modules need each other."""

from __future__ import annotations

from pathlib import Path

import nas
from tests.house.circles import circular

ROOT = Path(nas.__file__).parents[1]

LOWER = """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from nas.upper import Upper
    from nas.apart import alone

def known():
    from nas.upper import Upper
    return Upper

class Inner:
    def known(self):
        import nas.deep.inner
        from nas import apart
"""


def test_no_import_is_late_because_of_a_circle() -> None:
    assert circular(ROOT) == []


def test_every_way_of_hiding_one_is_seen(tmp_path: Path) -> None:
    for room in ("nas/deep", "proxies", "search_spaces"):
        (tmp_path / room).mkdir(parents=True)
    files = {
        "__init__.py": "",
        "lower.py": LOWER,
        "upper.py": "from nas.middle import thing\n",
        "middle.py": "try:\n    from . import lower\nexcept ImportError:\n    raise\n",
        "apart.py": "def late():\n    import nas.lower\n",
        "deep/__init__.py": "from ..lower import known\n",
        "deep/inner.py": "",
    }
    for name, text in files.items():
        (tmp_path / "nas" / name).write_text(text)
    assert circular(tmp_path) == [
        "nas/lower.py:8: nas.lower needs nas.upper",
        "nas/lower.py:13: nas.lower needs nas.deep",
    ]
