"""The life of a job: acceptance, waiting, dispatch, its events, its end, and finding it again after a restart."""
