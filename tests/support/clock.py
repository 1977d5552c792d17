"""The clock that the tests run with: `just calendar` sets it ahead, by variables that each process has to inherit."""

import os

CLOCK = {name: value for name, value in os.environ.items() if "FAKE" in name or name == "LD_PRELOAD"}
