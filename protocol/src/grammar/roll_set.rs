//! A set of roll indices, small where they lie close together.

use std::collections::HashMap;

/// Voters of a page: 64 words of 64 bits, 512 bytes.
const PAGE: u64 = 4_096;

type Page = [u64; 64];

/// Pages of bits, made when the first of their indices comes: memory grows with the log, not with the largest index that it claims.
#[derive(Debug, Clone, Default)]
pub(super) struct RollSet(HashMap<u64, Box<Page>>);

impl RollSet {
    pub(super) fn contains(&self, index: u64) -> bool {
        let (page, word, bit) = place(index);
        self.0
            .get(&page)
            .and_then(|page| page.get(word))
            .is_some_and(|word| word & bit != 0)
    }

    pub(super) fn extend(&mut self, indices: impl IntoIterator<Item = u64>) {
        for index in indices {
            let (page, word, bit) = place(index);
            let page = self.0.entry(page).or_insert_with(|| Box::new([0; 64]));
            if let Some(word) = page.get_mut(word) {
                *word |= bit;
            }
        }
    }
}

/// Page, word in the page, bit in the word.
fn place(index: u64) -> (u64, usize, u64) {
    // Below 64, so it fits.
    let word = usize::try_from(index % PAGE / 64).unwrap_or(0);
    (index / PAGE, word, 1 << (index % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_share_a_page() {
        let mut set = RollSet::default();
        set.extend(0..PAGE);
        assert_eq!(set.0.len(), 1);
        set.extend([PAGE, u64::MAX]);
        assert_eq!(set.0.len(), 3);
        assert!(set.contains(PAGE - 1) && set.contains(PAGE) && set.contains(u64::MAX));
        assert!(!set.contains(PAGE + 1));
    }
}
