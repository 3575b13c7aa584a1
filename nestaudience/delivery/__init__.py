"""From a delta to the platforms: last look, batches, wire guard, answers, settling."""
