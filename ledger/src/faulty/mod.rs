//! In-memory models of store and publisher that fail in every way that real ones do, for tests. Behind the feature `test-models`.
