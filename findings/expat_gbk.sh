#!/usr/bin/env bash
# Chinese software declares GBK or GB2312 in its XML. Expat, and so defusedxml, refuses each of the
# multi-byte encodings, with a ValueError instead of a ParseError. lxml reads them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check defusedxml==0.7.1 lxml==6.0.2
"$folder/venv/bin/python" - <<'PYTHON'
import sys
from xml.etree.ElementTree import ParseError

import lxml.etree
from defusedxml.ElementTree import fromstring

text = '<?xml version="1.0" encoding="{}"?><a>发票</a>'
for encoding in ("GBK", "GB18030"):
    content = text.format(encoding).encode(encoding)
    assert lxml.etree.fromstring(content).text == "发票", "CHANGED: lxml"
    try:
        fromstring(content)
    except ParseError:
        raise SystemExit("CHANGED: a ParseError now")
    except ValueError as error:
        print("Python", sys.version.split()[0], encoding, type(error).__name__, error)
    else:
        raise SystemExit("CHANGED: it is read now")
PYTHON
