"""`make faults FAULTS=1000 SEED=7`: a storm of any length, and its breaches."""

import os
import sys
import tempfile
from pathlib import Path

from tests.faults.storm import Storm


def main() -> int:
    seed, faults = int(os.environ.get("SEED", "1")), int(os.environ.get("FAULTS", "200"))
    with tempfile.TemporaryDirectory() as folder:
        storm = Storm(Path(folder), seed)
        with storm.up():
            report = storm.run(faults, tell=lambda line: print(line, file=sys.stderr, flush=True))
        print(report.table())
        breaches = report.breaches()
        for breach in breaches[:50]:
            print(breach)
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
