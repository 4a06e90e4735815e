"""`python -m service.db.upgrade`: migrates BUTIE_DATABASE_URL, in a process of its own."""

import os
import sys

from service.config import Misconfigured
from service.db.engine import LedgerAway, migrate


def main() -> int:
    try:
        migrate(os.environ["BUTIE_DATABASE_URL"])
    except (Misconfigured, LedgerAway) as fault:
        print(fault, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
