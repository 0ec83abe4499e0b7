"""No test here may reach for a network; the library reads this when it is first imported."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
