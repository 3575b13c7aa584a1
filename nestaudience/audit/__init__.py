"""What the auditor and the person ask: verify, list, show. It reads the ledger and changes nothing."""
