"""Whether a database file holds together: what `perdure doctor` runs, and what tests ask after a crash."""

from perdure.doctor.examination import examine
from perdure.doctor.findings import Finding, Findings

__all__ = ["Finding", "Findings", "examine"]
