//! Every format of Tallyroot and its verification: pure, no I/O, no async.
