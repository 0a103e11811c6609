//! Changes at random: bits, bytes and stretches of bytes; numbers, members and elements of documents; entries and batches of logs.

use protocol::canonical_json::to_canonical;
use serde_json::{Value, json};

/// xorshift64*: the same inputs from the same seed, on every machine.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Below `end`; 0 where that is 0.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 16).unwrap() % end.max(1)
    }

    fn pick<'t, T>(&mut self, of: &'t [T]) -> &'t T {
        &of[self.below(of.len())]
    }
}

/// Inputs that stand as text in the vectors.
pub(crate) fn is_text(field: &str) -> bool {
    matches!(field, "manifest" | "results" | "receipt" | "input" | "path")
}

/// A case with one of its inputs changed.
pub(crate) fn mutant(pool: &[Value], fields: &[&str], random: &mut Random) -> Value {
    // Mostly from what is right: what is wrong already says less by being changed.
    let mut case = random.pick(pool);
    for _ in 0..3 {
        if case["valid"] != json!(true) {
            case = random.pick(pool);
        }
    }
    let mut case = case.clone();
    let field = *random.pick(fields);
    let other = random.pick(pool)[field].clone();
    match field {
        "batches" => batches(&mut case[field], random),
        "proof" => proof(&mut case[field], random),
        "size" | "index" | "old_size" | "new_size" => {
            let number: u64 = case[field].as_str().unwrap().parse().unwrap();
            let changed = match random.below(5) {
                0 => number.wrapping_add(1),
                1 => number.wrapping_sub(1),
                2 => number ^ (1 << random.below(64)),
                3 => 0,
                _ => u64::MAX,
            };
            case[field] = json!(changed.to_string());
        }
        "leaf" | "root" | "old_root" | "new_root" => {
            let mut bytes = hex::decode(case[field].as_str().unwrap()).unwrap();
            let at = random.below(bytes.len());
            bytes[at] ^= 1 << random.below(8);
            case[field] = json!(hex::encode(bytes));
        }
        _ => {
            let mut bytes = hex::decode(case[field].as_str().unwrap()).unwrap();
            let other = hex::decode(other.as_str().unwrap()).unwrap();
            if field == "evidence" && random.below(2) == 0 {
                exchange(&mut bytes, &other, random);
            } else if matches!(field, "manifest" | "results" | "receipt" | "evidence")
                && random.below(2) == 0
            {
                document(&mut bytes, random);
            } else {
                for _ in 0..=random.below(3) {
                    stretch(&mut bytes, &other, random);
                }
            }
            case[field] = json!(hex::encode(bytes));
        }
    }
    case
}

/// Bytes that mean something somewhere.
const TELLING: &[u8] = b"\0\x01\x02\x7f\x80\xff09\"\\\n +/=-.{}[],:eE\xc3\xe2\xf0";

fn stretch(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    let end = (at + random.below(17)).min(bytes.len());
    match random.below(10) {
        0..=2 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        3 if at < bytes.len() => bytes[at] = *random.pick(TELLING),
        4 if at < bytes.len() => bytes[at] = bytes[at].wrapping_add(1),
        5 => drop(bytes.drain(at..end)),
        6 => {
            let copy = bytes[at..end].to_vec();
            let to = random.below(bytes.len() + 1);
            bytes.splice(to..to, copy);
        }
        7 => bytes.insert(at, *random.pick(TELLING)),
        8 => bytes.truncate(at),
        _ => {
            // The rest is another input's.
            bytes.truncate(at);
            bytes.extend_from_slice(other.get(at..).unwrap_or_default());
        }
    }
}

fn proof(proof: &mut Value, random: &mut Random) {
    let hashes = proof.as_array_mut().unwrap();
    let at = random.below(hashes.len());
    match random.below(4) {
        0 if !hashes.is_empty() => drop(hashes.remove(at)),
        1 if !hashes.is_empty() => hashes.insert(at, hashes[at].clone()),
        2 if hashes.len() > 1 => {
            let with = random.below(hashes.len());
            hashes.swap(at, with);
        }
        _ => hashes.push(json!("00".repeat(32))),
    }
}

/// A document that is canonical still, with another meaning.
fn document(bytes: &mut Vec<u8>, random: &mut Random) {
    let Ok(mut value) = serde_json::from_slice::<Value>(bytes) else {
        return;
    };
    let count = nodes(&mut value, &mut |_, _| ());
    let chosen = random.below(count);
    let mut kinds = (random.below(6), random.below(usize::MAX));
    nodes(&mut value, &mut |n, node| {
        if n == chosen {
            change(node, &mut kinds);
        }
    });
    if let Ok(canonical) = to_canonical(&value) {
        *bytes = canonical;
    }
}

/// Some members are another document's: each part is right then, and they may not belong together.
fn exchange(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let documents = (
        serde_json::from_slice::<Value>(bytes),
        serde_json::from_slice::<Value>(other),
    );
    let (Ok(Value::Object(mut ours)), Ok(Value::Object(theirs))) = documents else {
        return;
    };
    for _ in 0..=random.below(3) {
        let Some((name, value)) = theirs.iter().nth(random.below(theirs.len())) else {
            return;
        };
        match (ours.get_mut(name), value) {
            // Of an exhibit, as often a member as the whole.
            (Some(Value::Object(inner)), Value::Object(parts)) if random.below(2) == 0 => {
                if let Some((name, value)) = parts.iter().nth(random.below(parts.len())) {
                    inner.insert(name.clone(), value.clone());
                }
            }
            _ => drop(ours.insert(name.clone(), value.clone())),
        }
    }
    if let Ok(canonical) = to_canonical(&ours) {
        *bytes = canonical;
    }
}

fn change(node: &mut Value, (kind, at): &mut (usize, usize)) {
    *node = match (std::mem::take(node), *kind) {
        (Value::Number(n), 0) => json!(n.as_u64().unwrap_or(0).saturating_sub(1)),
        (Value::Number(n), 1) => json!(n.as_u64().unwrap_or(0) + 1),
        (Value::Number(_), 2) => json!(0),
        (Value::Number(_), 3) => json!((1_u64 << 53) - 1),
        (Value::String(text), 0..=3) if !text.is_empty() => {
            let mut letters: Vec<char> = text.chars().collect();
            let at = *at % letters.len();
            match kind {
                0 => letters[at] = 'a',
                1 => drop(letters.remove(at)),
                2 => letters.insert(at, letters[at]),
                _ => letters[at] = '\u{1fae8}',
            }
            Value::String(letters.into_iter().collect())
        }
        (Value::Array(mut list), 0..=3) if !list.is_empty() => {
            let at = *at % list.len();
            match kind {
                0 => drop(list.remove(at)),
                1 => list.insert(at, list[at].clone()),
                2 => list.rotate_left(1),
                _ => list.clear(),
            }
            Value::Array(list)
        }
        (Value::Object(mut members), 0..=2) if !members.is_empty() => {
            let name = members.keys().nth(*at % members.len()).unwrap().clone();
            if *kind == 0 {
                members.remove(&name);
            } else {
                members.insert(format!("{name}x"), Value::Null);
            }
            Value::Object(members)
        }
        (Value::Bool(yes), 0..=3) => json!(!yes),
        (Value::Null, _) => json!(0),
        (_, 4) => Value::Null,
        (_, _) => json!("x"),
    };
}

/// Visits every value below this one; returns how many there are.
fn nodes(value: &mut Value, visit: &mut impl FnMut(usize, &mut Value)) -> usize {
    fn walk(value: &mut Value, n: &mut usize, visit: &mut impl FnMut(usize, &mut Value)) {
        let below: Vec<&mut Value> = match value {
            Value::Array(list) => list.iter_mut().collect(),
            Value::Object(members) => members.values_mut().collect(),
            _ => Vec::new(),
        };
        for value in below {
            walk(value, n, visit);
        }
        visit(*n, value);
        *n += 1;
    }
    let mut n = 0;
    walk(value, &mut n, visit);
    n
}

fn batches(batches: &mut Value, random: &mut Random) {
    let batches = batches.as_array_mut().unwrap();
    let (at, with) = (random.below(batches.len()), random.below(batches.len()));
    let entries = batches[at].as_array_mut().unwrap();
    let entry = random.below(entries.len());
    match random.below(8) {
        0 => drop(batches.remove(at)),
        1 => batches.swap(at, with),
        2 => batches.push(batches[at].clone()),
        3 if !entries.is_empty() => drop(entries.remove(entry)),
        4 if !entries.is_empty() => entries.push(entries[entry].clone()),
        5 => {
            let more = batches[with].as_array().unwrap().clone();
            batches[at].as_array_mut().unwrap().extend(more);
        }
        _ if !entries.is_empty() => {
            let mut bytes = hex::decode(entries[entry].as_str().unwrap()).unwrap();
            let bit = random.below(bytes.len() * 8);
            if let Some(byte) = bytes.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
            entries[entry] = json!(hex::encode(bytes));
        }
        _ => {}
    }
}
