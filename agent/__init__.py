"""The agent."""

import os

# Before numpy is first imported: several threads for matrices of at most 200 rows gain nothing on an idle machine,
# and on a busy one they wait for each other, a hundred times as long as the sums take.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
