"""One ticket in, one grounded answer out. Runs without torch, transformers or kfp."""
