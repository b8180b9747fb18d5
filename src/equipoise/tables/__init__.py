"""Outcome tables: what every model did on every prompt.

``table`` the table itself, ``files`` reading and writing, ``analysed`` with features, ``costs`` prices to costs,
``lint`` what looks wrong, ``describe`` a summary, ``convert`` other projects' formats, ``duplicates`` near-duplicates.
"""

from equipoise.tables.costs import with_costs
from equipoise.tables.files import read_table, write_table
from equipoise.tables.table import OutcomeTable

__all__ = ["OutcomeTable", "read_table", "with_costs", "write_table"]
