#!/usr/bin/env bash
# is_valid is true for 14 digits (no check digit), for 16 digits (with a software version), and for
# fifteen zeros. What a form calls an IMEI has 15 digits, and the last one checks the others.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check python-stdnum==2.2
"$folder/venv/bin/python" - <<'PYTHON'
import stdnum
from stdnum import imei

seen = {number: imei.is_valid(number) for number in (
    "352099001761481",   # 15 digits with a right check digit
    "352099001761482",   # a wrong one
    "35209900176148",    # none
    "3520990017614823",  # IMEISV
    "000000000000000",
)}
print("python-stdnum", stdnum.__version__, seen)
assert list(seen.values()) == [True, False, True, True, True], "CHANGED"
PYTHON
