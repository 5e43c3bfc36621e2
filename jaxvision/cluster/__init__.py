"""Many runs on many machines: each run is one command, and Dask says where it runs.

What a run computes depends on its command, its code and the number of devices it makes, and not on
where, when or beside whom it runs. So a series on three machines gives the records that the same
commands give one after the other.

``runs`` is what a worker does with one command, ``ledger`` what has been done, ``series`` the
submitting, and ``engine`` the cluster.
"""
