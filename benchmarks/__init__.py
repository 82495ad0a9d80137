"""What the system costs in time and money, measured: ``make bench`` writes ``results.md``."""

import os

# Log lines and metrics name their service, as they do in Lambda; libraries read this when they are imported.
os.environ.setdefault("POWERTOOLS_SERVICE_NAME", "fulfillment")
