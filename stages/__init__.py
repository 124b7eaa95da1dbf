"""One thin file per DVC stage: read tables, call the library, write tables. No maths here."""
