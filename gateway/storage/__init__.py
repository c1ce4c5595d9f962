"""The database (schema, migrations, queries) and the blob store. Knows rows, no policy."""
