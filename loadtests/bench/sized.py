"""`butie` whose sandbox has a PostgreSQL sized for millions of claims, as production's would be.

Keys, serials and rights fall anywhere in their indexes, so at ten million claims nearly each claim
touches four pages that no other has touched since the last checkpoint, and each such page is logged
whole. Checkpoints far apart make that rare; the durability of a commit is the same.
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
