#!/usr/bin/env bash
# Excel can save as Strict Open XML Spreadsheet (ISO/IEC 29500 Strict). openpyxl raises nothing for
# it: the workbook has no sheets. python-calamine reads the same file.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check openpyxl==3.1.5 python-calamine==0.9.1
"$folder/venv/bin/python" - <<'PYTHON'
import io
import warnings
import zipfile

import openpyxl
import python_calamine

NAMESPACES = {
    b"http://schemas.openxmlformats.org/spreadsheetml/2006/main":
        b"http://purl.oclc.org/ooxml/spreadsheetml/main",
    b"http://schemas.openxmlformats.org/officeDocument/2006/relationships":
        b"http://purl.oclc.org/ooxml/officeDocument/relationships",
}
book = openpyxl.Workbook()
book.active.append(["order", "amount"])
usual, strict = io.BytesIO(), io.BytesIO()
book.save(usual)
with zipfile.ZipFile(usual) as parts, zipfile.ZipFile(strict, "w") as other:
    for name in parts.namelist():
        part = parts.read(name)
        for former, latter in NAMESPACES.items():
            part = part.replace(former, latter)
        other.writestr(name, part)
warnings.simplefilter("ignore")
by_openpyxl = openpyxl.load_workbook(strict).sheetnames
strict.seek(0)
by_calamine = python_calamine.CalamineWorkbook.from_filelike(strict).sheet_names
print("openpyxl", openpyxl.__version__, by_openpyxl, "python-calamine", by_calamine)
assert by_openpyxl == [], "CHANGED: openpyxl sees the sheets"
assert by_calamine == ["Sheet"], "CHANGED"
PYTHON
