//! What every engine must do, as a function that tries one against a plain map.
//!
//! A durable engine in another crate calls [`check_engine`] from its tests. It needs nothing but an engine:
//! the actions are drawn from a seed, so a failure repeats.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Engine, EngineError, EnginePage, PageLimits};
use crate::protocol::digest::{Digest, ItemHash, ItemPosition, ItemRange, item_order};
use crate::wire::page::{ITEM_BYTES_MAX, PageBuilder, PageItems};

/// Actions of one run. Enough to cut and join what an engine is made of.
const ACTIONS: usize = 3_000;

/// Keys a run chooses from, so that most actions meet an item.
const KEYS: u64 = 700;

const NO_LIMIT: PageLimits = PageLimits { items: usize::MAX, bytes: usize::MAX };

/// Carries out a few thousand actions drawn from `seed` on `engine`, which must be empty, and on a plain
/// map, and compares all they tell. Leaves the engine empty.
///
/// # Panics
///
/// Where the engine does something else than it should; the message says what, and names the seed.
pub fn check_engine(engine: &mut dyn Engine, seed: u64) {
    let mut trial = Trial { engine, model: BTreeMap::new(), draws: Draws(seed), seed };
    trial.compare();
    for action in 0..ACTIONS {
        trial.act();
        if action % 100 == 0 {
            trial.compare();
        }
    }
    trial.compare();
    trial.refusals_change_nothing();
    trial.empty_in_steps();
}

/// Numbers that follow from a seed. Source: Steele et al., "Fast Splittable Pseudorandom Number
/// Generators", 2014 (`SplitMix64`).
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// Keys of different lengths, some of which start others.
    fn key(&mut self) -> Bytes {
        let number = self.below(KEYS);
        Bytes::from(vec![number as u8; 1 + (number >> 8) as usize * 7])
    }

    /// Mostly short values, some empty, few that do not fit into a usual page.
    fn value(&mut self) -> Bytes {
        let length = match self.below(200) {
            0 => 70_000,
            1..20 => 0,
            length => length * length / 20,
        };
        Bytes::from(vec![self.next() as u8; length as usize])
    }

    fn edge(&mut self) -> Option<ItemPosition> {
        match self.below(6) {
            0 => None,
            1 => {
                let order = item_order(&self.key());
                Some(ItemPosition { order, key: Bytes::new() })
            }
            _ => Some(ItemPosition::of(self.key())),
        }
    }

    fn range(&mut self) -> ItemRange {
        let (first, second) = (self.edge(), self.edge());
        match (first, second) {
            (Some(first), Some(second)) if first > second => {
                ItemRange { after: Some(second), until: Some(first) }
            }
            (after, until) => ItemRange { after, until },
        }
    }

    fn limits(&mut self) -> PageLimits {
        PageLimits { items: self.below(100) as usize, bytes: self.below(30_000) as usize }
    }
}

type Model = BTreeMap<ItemPosition, Bytes>;

struct Trial<'a> {
    engine: &'a mut dyn Engine,
    model: Model,
    draws: Draws,
    seed: u64,
}

impl Trial<'_> {
    fn act(&mut self) {
        match self.draws.below(100) {
            0..50 => self.put(),
            50..65 => self.get(),
            65..90 => self.remove(),
            90..95 => self.read_pages(),
            95..98 => self.replace(),
            _ => self.remove_some(),
        }
    }

    fn done<T>(&self, result: Result<T, EngineError>) -> T {
        match result {
            Ok(value) => value,
            Err(error) => panic!("seed {}: the engine refused what is allowed: {error}", self.seed),
        }
    }

    fn put(&mut self) {
        let (key, value) = (self.draws.key(), self.draws.value());
        let result = self.engine.put(&key, &value);
        self.done(result);
        self.model.insert(ItemPosition::of(key), value);
    }

    fn get(&mut self) {
        let key = self.draws.key();
        let value = self.done(self.engine.get(&key));
        let expected = self.model.get(&ItemPosition::of(key.clone())).cloned();
        assert_eq!(value, expected, "seed {}: what is under {key:?}", self.seed);
    }

    fn remove(&mut self) {
        let key = self.draws.key();
        let result = self.engine.remove(&key);
        let removed = self.done(result);
        let expected = self.model.remove(&ItemPosition::of(key.clone())).is_some();
        assert_eq!(removed, expected, "seed {}: whether {key:?} was there", self.seed);
    }

    fn in_range(&self, range: &ItemRange) -> Vec<(ItemPosition, Bytes)> {
        let inside = |position: &ItemPosition| range.contains(position.order, &position.key);
        let items = self.model.iter().filter(|(position, _)| inside(position));
        items.map(|(position, value)| (position.clone(), value.clone())).collect()
    }

    /// Reads a range page by page; each page must be the complete content of what it covers.
    fn read_pages(&mut self) {
        let asked = self.draws.range();
        let mut read = Vec::new();
        let mut rest = Some(asked.clone());
        while let Some(range) = rest {
            let limits = self.draws.limits();
            let page = self.done(self.engine.page(&range, limits));
            let items = self.items_of(&page, limits);
            let covered = page.covered(&range);
            assert_eq!(items, self.in_range(&covered), "seed {}: a page of {range:?}", self.seed);
            read.extend(items);
            rest = page.rest(&range);
        }
        assert_eq!(read, self.in_range(&asked), "seed {}: all pages of {asked:?}", self.seed);
    }

    fn items_of(&self, page: &EnginePage, limits: PageLimits) -> Vec<(ItemPosition, Bytes)> {
        let seed = self.seed;
        let items: Vec<(ItemPosition, Bytes)> = PageItems::new(page.items.clone())
            .map(|item| match item {
                Ok((key, value)) => (ItemPosition::of(key), value),
                Err(error) => panic!("seed {seed}: a page cannot be read: {error}"),
            })
            .collect();
        assert_eq!(items.len(), page.count, "seed {seed}: the count of a page");
        let last = items.last().map(|(position, _)| position);
        assert_eq!(last, page.last.as_ref(), "seed {seed}: the last item of a page");
        assert!(page.complete || !items.is_empty(), "seed {seed}: a page without progress");
        let within = items.len() <= limits.items && page.items.len() <= limits.bytes;
        assert!(within || items.len() <= 1, "seed {seed}: a page over its limits {limits:?}");
        items
    }

    fn replace(&mut self) {
        let range = self.draws.range();
        let mut content = Model::new();
        for _ in 0..self.draws.below(40) {
            let (position, value) = (ItemPosition::of(self.draws.key()), self.draws.value());
            if range.contains(position.order, &position.key) {
                content.insert(position, value);
            }
        }
        let result = self.engine.replace_range(&range, &page_of(content.iter()));
        self.done(result);
        self.model.retain(|position, _| !range.contains(position.order, &position.key));
        self.model.extend(content);
    }

    fn remove_some(&mut self) {
        let range = self.draws.range();
        let most = self.draws.below(60) as usize;
        let result = self.engine.remove_range(&range, most);
        let removed = self.done(result);
        let expected: Vec<_> = self.in_range(&range).into_iter().take(most).collect();
        for (position, _) in &expected {
            self.model.remove(position);
        }
        assert_eq!(removed.count, expected.len(), "seed {}: removed of {range:?}", self.seed);
        let complete = self.in_range(&range).is_empty();
        assert_eq!(removed.complete, complete, "seed {}: whether {range:?} is empty", self.seed);
    }

    /// The whole content, the digest, the count, and the hashes of what is stored.
    fn compare(&self) {
        let seed = self.seed;
        let page = self.done(self.engine.page(&ItemRange::all(), NO_LIMIT));
        assert_eq!(self.items_of(&page, NO_LIMIT), self.in_range(&ItemRange::all()), "seed {seed}");
        let mut digest = Digest::default();
        for (position, value) in &self.model {
            let bytes = (position.key.len() + value.len()) as u64;
            digest.add(position.order, ItemHash::of(&position.key, value), bytes);
        }
        assert_eq!(*self.engine.digest(), digest, "seed {seed}: the digest");
        assert_eq!(self.engine.len(), self.model.len() as u64, "seed {seed}: the count");
        assert_eq!(self.engine.is_empty(), self.model.is_empty(), "seed {seed}");
        let checked = self.done(self.engine.check(&ItemRange::all(), NO_LIMIT));
        assert!(checked.complete && checked.corrupt.is_empty(), "seed {seed}: {checked:?}");
        assert_eq!(checked.count, self.model.len(), "seed {seed}: items checked");
    }

    fn refusals_change_nothing(&mut self) {
        let seed = self.seed;
        let value = Bytes::from_static(b"value");
        let mut two =
            [Bytes::from_static(b"one"), Bytes::from_static(b"two")].map(ItemPosition::of);
        two.sort();
        let [low, high] = two;

        let empty_key = self.engine.put(b"", b"value");
        assert!(matches!(empty_key, Err(EngineError::EmptyKey)), "seed {seed}: {empty_key:?}");
        let long = self.engine.put(b"key", &vec![0; ITEM_BYTES_MAX]);
        assert!(matches!(long, Err(EngineError::Page(_))), "seed {seed}: {long:?}");

        let mut replace = |range: ItemRange, page: &[u8]| self.engine.replace_range(&range, page);
        let backwards = page_of([(&high, &value), (&low, &value)].into_iter());
        let refused = replace(ItemRange::all(), &backwards);
        assert!(matches!(refused, Err(EngineError::OutOfOrder { .. })), "seed {seed}: {refused:?}");
        let twice = page_of([(&low, &value), (&low, &value)].into_iter());
        let refused = replace(ItemRange::all(), &twice);
        assert!(matches!(refused, Err(EngineError::OutOfOrder { .. })), "seed {seed}: {refused:?}");
        let both = page_of([(&low, &value), (&high, &value)].into_iter());
        let refused = replace(ItemRange::behind(low.clone()), &both);
        assert!(matches!(refused, Err(EngineError::OutOfRange { .. })), "seed {seed}: {refused:?}");
        let refused = replace(ItemRange { after: None, until: Some(low) }, &both);
        assert!(matches!(refused, Err(EngineError::OutOfRange { .. })), "seed {seed}: {refused:?}");
        let refused = replace(ItemRange::all(), &both.slice(..both.len() - 1));
        assert!(matches!(refused, Err(EngineError::Page(_))), "seed {seed}: {refused:?}");
        self.compare();
    }

    fn empty_in_steps(&mut self) {
        let mut steps = 0;
        loop {
            let result = self.engine.remove_range(&ItemRange::all(), 100);
            let removed = self.done(result);
            if removed.complete {
                break;
            }
            steps += 1;
            assert!(steps <= self.model.len(), "seed {}: removing makes no progress", self.seed);
        }
        self.model.clear();
        self.compare();
        self.put();
        self.compare();
        let result = self.engine.clear();
        self.done(result);
        self.model.clear();
        self.compare();
    }
}

fn page_of<'a>(items: impl Iterator<Item = (&'a ItemPosition, &'a Bytes)>) -> Bytes {
    let mut page = PageBuilder::default();
    for (position, value) in items {
        if let Err(error) = page.push(&position.key, value) {
            panic!("an item of the trial is too long: {error}");
        }
    }
    page.finish()
}
