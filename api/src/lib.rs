//! A cell's HTTP service: ballots in, receipts out.
