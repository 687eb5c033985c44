//! Batches larger than a buffer, or than memory: where they come from, and what is said of them.
