//! What was read and proven, and never changes: kept, a bounded number of it.

use std::collections::HashMap;
use std::hash::Hash as Key;
use std::sync::{Arc, Mutex, PoisonError};

/// A bounded cache in two generations: what was used since the last turn survives the next.
pub struct Cache<K, V> {
    generation_max: usize,
    generations: Mutex<Generations<K, V>>,
}

struct Generations<K, V> {
    young: HashMap<K, Arc<V>>,
    old: HashMap<K, Arc<V>>,
}

impl<K: Key + Eq + Clone, V> Cache<K, V> {
    /// Keeps at most so many.
    #[must_use]
    pub fn new(count_max: usize) -> Self {
        let generations = Generations {
            young: HashMap::new(),
            old: HashMap::new(),
        };
        Self {
            generation_max: (count_max / 2).max(1),
            generations: Mutex::new(generations),
        }
    }

    /// What is kept under this key.
    pub fn get(&self, key: &K) -> Option<Arc<V>> {
        let mut generations = self
            .generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = generations.young.get(key) {
            return Some(Arc::clone(value));
        }
        let (key, value) = generations.old.remove_entry(key)?;
        self.insert(&mut generations, key, Arc::clone(&value));
        Some(value)
    }

    /// Keeps it, until `count_max` others were used since.
    pub fn put(&self, key: K, value: Arc<V>) {
        let mut generations = self
            .generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.insert(&mut generations, key, value);
    }

    fn insert(&self, generations: &mut Generations<K, V>, key: K, value: Arc<V>) {
        if generations.young.len() >= self.generation_max {
            generations.old = std::mem::take(&mut generations.young);
        }
        generations.young.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_keeps_what_is_used_and_stays_bounded() {
        let cache = Cache::new(8);
        for key in 0..1_000_u32 {
            cache.put(key, Arc::new(key));
            assert_eq!(cache.get(&0).as_deref(), Some(&0), "{key}");
            let generations = cache.generations.lock().unwrap();
            assert!(generations.young.len() + generations.old.len() <= 8);
        }
        assert_eq!(cache.get(&1), None);
    }
}
