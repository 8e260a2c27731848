//! What is moved: how many entries of which size, the same in every run.

/// Entries of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// The size of a value as tables name it.
    pub name: &'static str,
    /// How many entries.
    pub objects: u64,
    /// Bytes of each value.
    pub bytes_each: usize,
}

/// The sizes that other systems were measured with, each about as many as half a gigabyte holds. Small
/// values cost per entry, large ones per byte.
pub const SHAPES: [Shape; 3] = [
    Shape { name: "100 B", objects: 1_000_000, bytes_each: 100 },
    Shape { name: "1 KiB", objects: 500_000, bytes_each: 1 << 10 },
    Shape { name: "64 KiB", objects: 8_000, bytes_each: 1 << 16 },
];

impl Shape {
    /// A tenth of the entries.
    pub fn tenth(self) -> Self {
        Self { objects: self.objects / 10, ..self }
    }

    /// The key with this number.
    pub fn key(number: u64) -> String {
        format!("key-{number:08}")
    }

    /// The value with this number. Values look random, so that nothing gains by packing them.
    pub fn value(&self, number: u64) -> Vec<u8> {
        let mut state = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut value = Vec::with_capacity(self.bytes_each + size_of::<u64>());
        while value.len() < self.bytes_each {
            // Source: Marsaglia, "Xorshift RNGs" (2003), the triple 13, 7, 17.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            value.extend_from_slice(&state.to_le_bytes());
        }
        value.truncate(self.bytes_each);
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_differ_and_repeat() {
        let shape = Shape { name: "13 B", objects: 2, bytes_each: 13 };
        assert_eq!(shape.value(7), shape.value(7));
        assert_ne!(shape.value(7), shape.value(8));
        assert_ne!(Shape::key(7), Shape::key(8));
        assert_eq!(shape.value(7).len(), 13);
    }
}
