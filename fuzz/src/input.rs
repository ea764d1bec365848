//! Drawing decisions from bytes. When the bytes end, every draw is zero.

/// A stream of decisions.
#[derive(Clone, Debug)]
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// Starts at the front of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Input(bytes)
    }

    /// Splits: the first byte says how much of the rest goes first.
    pub fn split(data: &'a [u8]) -> (Self, Self) {
        let (n, rest) = data.split_first().map_or((0, data), |(n, rest)| (usize::from(*n), rest));
        let (first, second) = rest.split_at(n.min(rest.len()));
        (Input(first), Input(second))
    }

    /// True when nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        usize::from(self.byte()) % n.max(1)
    }

    /// One of `list`.
    pub fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    /// Two bytes.
    pub fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// A number of any size, mostly small or at an edge.
    pub fn u32(&mut self) -> u32 {
        match self.byte() {
            n @ 0..=199 => u32::from(n),
            200..=219 => u32::from(self.u16()),
            220 => u32::MAX,
            221 => 0x7fff_ffff,
            222 => 0x8000_0000,
            223 => 32_768,
            224 => 2 << 20,
            225 => u32::MAX - u32::from(self.byte()),
            _ => u32::from(self.u16()) << 16 | u32::from(self.u16()),
        }
    }

    /// The next bytes, as many as the next byte says.
    pub fn bytes(&mut self) -> &'a [u8] {
        let n = usize::from(self.byte()).min(self.0.len());
        self.take(n)
    }

    /// The next `n` bytes, or what is left.
    pub fn take(&mut self, n: usize) -> &'a [u8] {
        let (first, rest) = self.0.split_at(n.min(self.0.len()));
        self.0 = rest;
        first
    }

    /// All the rest.
    pub fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.0)
    }
}
