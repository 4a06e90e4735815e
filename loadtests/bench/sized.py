"""`butie` with a sandbox whose PostgreSQL is sized for millions of claims, as in production.

Keys, serials and quotas are random in their indexes. With ten million claims, nearly every claim
touches four pages that no other claim has touched since the last checkpoint, and each of these is
logged whole. Checkpoints that are far apart make this rare. A commit is as durable as before.
"""

import psutil

from service.__main__ import main
from service.embedded import postgres

A_QUARTER = psutil.virtual_memory().total // 4

postgres.SETTINGS.update(
    {
        "shared_buffers": f"{A_QUARTER // 2**20}MB",
        "max_wal_size": "8GB",
        "checkpoint_timeout": "30min",
    }
)

if __name__ == "__main__":
    main()
