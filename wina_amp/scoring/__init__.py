"""How an input feature is scored: criteria, learned feature weights, and the signature of what fires."""
