"""The system's own memory: the transfer log with its proofs, and who may be on which list."""
