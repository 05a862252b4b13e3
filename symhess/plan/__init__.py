"""From graphs to executable steps: fused loop nests, contractions and library calls."""
