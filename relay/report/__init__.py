"""A report: one HTML file with flows as a table, a timeline and ladders, which needs no network and no server.

    runs of relays --section_of--> Section, one for each run or test --page_of--> the file

The page's own files lie in `page/`, as they are: no step builds them. Text that others chose, as names from the
network, is escaped in `sections`, and once more by how the page is put together and shows it.
"""

from relay.report.html import assembled, page_data, page_of
from relay.report.sections import Data, Section, section_of

__all__ = ["Data", "Section", "assembled", "page_data", "page_of", "section_of"]
