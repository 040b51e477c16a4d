"""Deployed as the function's module: whoever imports it is replaced by AWS's own runtime client, with the real handler.

It needs nothing of the service but what every runtime client needs, and would work on AWS too."""

import os
import sys

os.execv(sys.executable, [sys.executable, "-m", "awslambdaric", os.environ["REAL_HANDLER"]])
