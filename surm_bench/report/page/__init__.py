"""The report: one HTML page made from records; it needs only a browser."""

from surm_bench.report.page.data import Results, TriedSetting, page_part
from surm_bench.report.page.write import write_page

__all__ = ["Results", "TriedSetting", "page_part", "write_page"]
