"""What can go wrong below the gateway: one family of exceptions for the database and the blob store."""


class StorageError(Exception):
    """Base of everything the storage floor raises; the message is fit for an operator's eyes."""


class DatabaseUnavailable(StorageError):
    """The database can't be written or read now (disk full, locked, read-only, I/O error); it may recover by itself."""


class Conflict(StorageError):
    """A write broke a constraint: a row with that key exists, or a row it refers to doesn't."""


class BlobMissing(StorageError):
    """No blob with that hash is in the store."""


class BlobTooLarge(StorageError):
    """A stream was longer than its limit; nothing of it was kept."""
