#!/usr/bin/env bash
# In Open XML a carriage return in a cell is written as _x000D_ (ECMA-376, ST_Xstring). XlsxWriter
# does so. openpyxl gives the seven characters as they are; python-calamine gives a carriage return.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check openpyxl==3.1.5 xlsxwriter==3.3.1 python-calamine==0.9.1
"$folder/venv/bin/python" - <<'PYTHON'
import io

import openpyxl
import python_calamine
import xlsxwriter

file = io.BytesIO()
book = xlsxwriter.Workbook(file)
book.add_worksheet().write(0, 0, "A-1\r\nB-2")
book.close()
by_openpyxl = openpyxl.load_workbook(file).active["A1"].value
file.seek(0)
by_calamine = python_calamine.CalamineWorkbook.from_filelike(file).get_sheet_by_index(0).to_python()[0][0]
print("XlsxWriter", xlsxwriter.__version__, "openpyxl", openpyxl.__version__, repr(by_openpyxl),
      "python-calamine", repr(by_calamine))
assert by_openpyxl == "A-1_x000D_\nB-2", "CHANGED"
assert by_calamine == "A-1\r\nB-2", "CHANGED"
PYTHON
