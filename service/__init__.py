"""Everything that reads model packages: never torch, fastai or ``training``."""

import os

# Libraries report their use to their makers unless they are told not to: ONNX Runtime when it is
# imported, BentoML when it serves, Ray when it starts. Here nothing is sent unless a user says so.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
