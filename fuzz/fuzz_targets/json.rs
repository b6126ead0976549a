//! Mutations of inputs that begin with JSON: libFuzzer's own, which know nothing of it, hardly ever leave it JSON.

use libfuzzer_sys::fuzzer_mutate;
use serde_json::{Value, json};

/// Changes the input in place; its new length.
pub(crate) fn mutate(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut random = Random(u64::from(seed) << 1 | 1);
    if random.below(4) > 0
        && let Some(changed) = changed(&data[..size], &mut random)
        && changed.len() <= max_size
    {
        data[..changed.len()].copy_from_slice(&changed);
        return changed.len();
    }
    fuzzer_mutate(data, size, max_size)
}

/// The input with a few values of its JSON changed, what comes after it as it was; `None` where it is not JSON.
fn changed(input: &[u8], random: &mut Random) -> Option<Vec<u8>> {
    let mut stream = serde_json::Deserializer::from_slice(input).into_iter::<Value>();
    let mut tree = stream.next()?.ok()?;
    let rest = &input[stream.byte_offset()..];
    for _ in 0..=random.below(3) {
        let donor = node(&mut tree, &mut random.below(256)).map(|found| found.clone()).unwrap_or_default();
        let count = count(&tree);
        let target = node(&mut tree, &mut random.below(count)).expect("it was counted");
        change(target, donor, random);
    }
    Some([tree.to_string().as_bytes(), rest].concat())
}

fn change(value: &mut Value, donor: Value, random: &mut Random) {
    match (value, random.below(4)) {
        (value, 0) => *value = special(random),
        (value, 1) => *value = donor,
        (Value::Array(items), _) => change_list(items, donor, random),
        (Value::Object(entries), _) => {
            let keys: Vec<String> = entries.keys().cloned().collect();
            match (keys.get(random.below(keys.len())), random.below(2)) {
                (Some(key), 0) => drop(entries.remove(key)),
                (Some(key), _) => drop(entries.insert(key.clone(), donor)),
                (None, _) => drop(entries.insert("a".into(), donor)),
            }
        }
        (Value::String(text), _) => *text = change_text(text),
        (value, _) => *value = special(random),
    }
}

fn change_list(items: &mut Vec<Value>, donor: Value, random: &mut Random) {
    let at = random.below(items.len() + 1);
    match random.below(3) {
        0 if at < items.len() => drop(items.remove(at)),
        1 if at < items.len() => items.insert(at, items[at].clone()),
        _ => items.insert(at, donor),
    }
}

fn change_text(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let (size, most) = (bytes.len(), bytes.len() + 16);
    bytes.resize(most, 0);
    let size = fuzzer_mutate(&mut bytes, size, most);
    String::from_utf8_lossy(&bytes[..size]).into_owned()
}

/// A value at which something begins or ends.
fn special(random: &mut Random) -> Value {
    let large = [u64::from(u32::MAX), 1 << 32, 1 << 53, i64::MAX as u64, u64::MAX];
    match random.below(8) {
        0 => [json!(null), json!([]), json!({}), json!(""), json!([0]), json!({"a": 0})][random.below(6)].clone(),
        1 => json!(random.below(2) == 0),
        2 => json!(large[random.below(large.len())]),
        3 => json!([-1.0, 0.5, 1e-40, 1e308, -0.0][random.below(5)]),
        4 => json!([-1, i64::from(i32::MIN), i64::MIN][random.below(3)]),
        5 => json!(["\u{0}", "a", "[UNK]", "../..", "猫", "0.75"][random.below(6)]),
        _ => json!(random.below(70)),
    }
}

/// Values of a tree, itself among them.
fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(entries) => entries.values().map(count).sum(),
        _ => 0,
    }
}

/// The `index`th value, depth first.
fn node<'a>(value: &'a mut Value, index: &mut usize) -> Option<&'a mut Value> {
    if *index == 0 {
        return Some(value);
    }
    *index -= 1;
    match value {
        Value::Array(items) => items.iter_mut().find_map(|item| node(item, index)),
        Value::Object(entries) => entries.values_mut().find_map(|entry| node(entry, index)),
        _ => None,
    }
}

/// Xorshift: what a seed gives is the same each time.
struct Random(u64);

impl Random {
    /// A number below `limit`; 0 where that is 0.
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit.max(1)
    }
}
