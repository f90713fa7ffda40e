"""A home-made converter, as a researcher writes one in an afternoon: reads a scan, writes it elsewhere."""

import shutil
import sys

with open(sys.argv[1], "rb") as scan, open(sys.argv[2], "wb") as copy:
    shutil.copyfileobj(scan, copy)
