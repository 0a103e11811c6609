//! The bounds in numbers, as the specification has them: two verifiers with different bounds would disagree on files between.

use protocol::merkle::tile::{BUNDLE_BYTES_MAX, TILE_BYTES_MAX};

#[test]
fn bounds_are_those_of_the_specification() {
    const MIB: usize = 1_048_576;
    for (bound, bytes) in [
        (protocol::manifest::MANIFEST_LEN_MAX, MIB),
        (protocol::batch::BATCH_LEN_MAX, 16 * MIB),
        (protocol::anchor::ANCHOR_LEN_MAX, 16 * MIB),
        (protocol::results::RESULTS_LEN_MAX, 256 * MIB),
        (protocol::receipt::RECEIPT_LEN_MAX, 4 * MIB),
        (protocol::evidence::SPLIT_VIEW_LEN_MAX, 4 * MIB),
        (protocol::dispute::DISPUTE_LEN_MAX, 16 * MIB),
        (protocol::note::NOTE_BYTES_MAX, 65_536),
        (protocol::tlog_proof::PROOF_BYTES_MAX, 131_072),
        // Label, zero byte, election, log, number; size and root before and after.
        (protocol::batch::BATCH_HEADER_LEN, 18 + 1 + 32 + 9 + 8 + 80),
        // 256 hashes; 256 entries of 65,535 bytes, each after its length.
        (TILE_BYTES_MAX, 8_192),
        (BUNDLE_BYTES_MAX, 16_777_472),
    ] {
        assert_eq!(bound, bytes);
    }
    assert_eq!(protocol::canonical_json::INTEGER_MAX, 9_007_199_254_740_991);
    assert_eq!(protocol::manifest::INTEGER_END, 9_007_199_254_740_992);
    assert_eq!(
        protocol::cosignature::TIMESTAMP_MAX,
        9_223_372_036_854_775_807
    );
}
