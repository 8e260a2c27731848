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

    /// Bytes of all values together.
    pub fn value_bytes(&self) -> u64 {
        self.objects * self.bytes_each as u64
    }

    /// The key and the value with this number. Values look random, so that nothing gains by packing them.
    pub fn entry(&self, number: u64) -> (Vec<u8>, Vec<u8>) {
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
        (format!("key-{number:08}").into_bytes(), value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_differ_and_repeat() {
        let shape = Shape { name: "13 B", objects: 2, bytes_each: 13 };
        assert_eq!(shape.entry(7), shape.entry(7));
        assert_ne!(shape.entry(7).1, shape.entry(8).1);
        assert_eq!(shape.entry(7).1.len(), 13);
        assert_eq!(shape.value_bytes(), 26);
    }
}
