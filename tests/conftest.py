"""Settings of every test process."""

import os

from hypothesis import settings

# Before torch or a BLAS is imported: one thread a process, so that results do not depend on the number of cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Derandomised and without deadlines: a run fails for what the code does, not for its luck or a busy machine.
settings.register_profile("autoprox", derandomize=True, deadline=None, database=None, max_examples=50)
settings.load_profile("autoprox")
