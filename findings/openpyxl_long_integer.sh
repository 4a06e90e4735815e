#!/usr/bin/env bash
# A workbook keeps numbers as doubles, so an order number of 18 digits loses its last ones. openpyxl
# does not warn when it writes such an int, though it could write all digits of it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check openpyxl==3.1.5
"$folder/venv/bin/python" - <<'PYTHON'
import io
import re
import zipfile

import openpyxl

number = 202506180000123457
book = openpyxl.Workbook()
book.active["A1"] = number
file = io.BytesIO()
book.save(file)
written = re.search("<v>(.*?)</v>", zipfile.ZipFile(file).read("xl/worksheets/sheet1.xml").decode())[1]
read = openpyxl.load_workbook(file).active["A1"].value
print("openpyxl", openpyxl.__version__, "in:", number, "in the file:", written, "read:", repr(read))
assert int(read) != number, "CHANGED: the number survives"
assert int(read) == 202506180000123488 or isinstance(read, float), "CHANGED"
PYTHON
