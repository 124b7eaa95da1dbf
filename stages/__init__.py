"""One thin file per DVC stage: read tables, call the library, write tables. No maths here.

A stage computes on one thread unless OMP_NUM_THREADS says otherwise, and this file is where that is said: BLAS reads
the variable when numpy is first imported, which happens after this file and before anything else of a stage. Sums split
over another number of threads round differently, and the stages behind would run again.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
