//! What a source sends in which order: pages of the fold, and the changes behind its cursor.
//!
//! A page is the complete content of the range it covers. A change above the cursor is not sent: the page
//! that will cover it is read later and contains it. A change at or below the cursor is queued, in order,
//! and sent before the next page. So the target always holds, for everything below the cursor, what the
//! source held when the last part was read; no snapshot is needed.

use std::collections::VecDeque;

use crate::protocol::digest::{ItemPosition, ItemRange};
#[cfg(tanodb_mutants)]
use crate::protocol::mutant::Mutant;
use crate::protocol::rules::Rules;

/// More changes than this at once are not queued: the cursor goes back and pages cover them again.
pub const CHANGES_AT_ONCE_MAX: usize = 1_024;

/// When the fold has ended and no more than this waits, nothing is read: it goes as the tail of the fence. A
/// stream of small writes must not keep the fence away for ever.
pub const TAIL_BYTES_MAX: u64 = 1024 * 1024;

/// How far the fold has come.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Cursor {
    /// Everything up to this position was read; `None`: nothing yet.
    At(Option<ItemPosition>),
    /// Everything was read.
    Ended,
}

/// What to read next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next<C> {
    /// Send these changes, in this order.
    Changes(Vec<C>),
    /// Read a page of this range, then call [`Stream::page_read`].
    Page(ItemRange),
    /// Nothing at the moment.
    Nothing,
}

/// The stream of one attempt. `C` is a change, as the runtime stores it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stream<C> {
    cursor: Cursor,
    sequence: u64,
    waiting: Vec<C>,
    waiting_bytes: u64,
    repairs: VecDeque<ItemRange>,
    is_sender_waiting: bool,
    /// The fence was asked for and refused: changes are sent as they come until it becomes possible.
    is_fence_refused: bool,
    /// Most bytes that go with the fence.
    tail_bytes_max: u64,
    rules: Rules,
}

impl<C> Default for Stream<C> {
    fn default() -> Self {
        Self {
            cursor: Cursor::At(None),
            sequence: 0,
            waiting: Vec::new(),
            waiting_bytes: 0,
            repairs: VecDeque::new(),
            is_sender_waiting: false,
            is_fence_refused: false,
            tail_bytes_max: TAIL_BYTES_MAX,
            rules: Rules::default(),
        }
    }
}

impl<C> Stream<C> {
    /// A stream of something that has nothing to fold: only changes are sent.
    #[must_use]
    pub fn without_fold() -> Self {
        Self { cursor: Cursor::Ended, ..Self::default() }
    }

    /// The same by given rules.
    #[must_use]
    pub fn under(self, rules: Rules) -> Self {
        Self { rules, ..self }
    }

    /// What the next attempt sends: it goes on where this one has stopped.
    #[cfg(tanodb_mutants)]
    #[must_use]
    pub fn again(self) -> Self {
        match self.cursor {
            Cursor::Ended => Self::default().under(self.rules),
            cursor @ Cursor::At(_) => Self { cursor, ..Self::default().under(self.rules) },
        }
    }

    /// Takes note of the changes of one command. `positions` has one entry for each change.
    pub fn note(&mut self, changes: impl IntoIterator<Item = (ItemPosition, u64, C)>) {
        let changes: Vec<_> = changes.into_iter().collect();
        if changes.len() > CHANGES_AT_ONCE_MAX {
            if let Some(lowest) = changes.into_iter().map(|(position, ..)| position).min() {
                self.go_back(Some(just_before(&lowest)));
            }
            return;
        }
        for (position, bytes, change) in changes {
            if self.has_read(&position) {
                self.waiting_bytes = self.waiting_bytes.saturating_add(bytes);
                self.waiting.push(change);
            }
        }
    }

    /// Takes note that a whole range has changed.
    pub fn note_range(&mut self, range: &ItemRange) {
        self.go_back(range.after.clone());
    }

    fn has_read(&self, position: &ItemPosition) -> bool {
        #[cfg(tanodb_mutants)]
        if self.cursor != Cursor::Ended && self.rules.breaks(Mutant::ChangesBehindForgotten) {
            return false;
        }
        match &self.cursor {
            Cursor::At(cursor) => cursor.as_ref().is_some_and(|cursor| position <= cursor),
            Cursor::Ended => true,
        }
    }

    fn go_back(&mut self, to: Option<ItemPosition>) {
        #[cfg(tanodb_mutants)]
        if self.rules.breaks(Mutant::CursorStays) {
            return;
        }
        let is_ahead = match &self.cursor {
            Cursor::At(cursor) => *cursor > to,
            Cursor::Ended => true,
        };
        if is_ahead {
            self.cursor = Cursor::At(to);
        }
    }

    /// What to read now. After [`Next::Nothing`] the sender waits: see [`Stream::wakes_sender`].
    pub fn next_part(&mut self) -> Next<C> {
        let goes_with_fence = self.has_ended() && !self.is_fence_refused && self.has_short_tail();
        if !self.waiting.is_empty() && !goes_with_fence {
            self.sequence += 1;
            return Next::Changes(self.take_waiting());
        }
        if let Some(range) = self.repairs.front() {
            return Next::Page(range.clone());
        }
        match &self.cursor {
            Cursor::At(cursor) => Next::Page(ItemRange { after: cursor.clone(), until: None }),
            Cursor::Ended => {
                self.is_sender_waiting = true;
                Next::Nothing
            }
        }
    }

    /// A page was read that covers its range up to `until` (`None`: to the end of the range asked for).
    /// Returns the page's number.
    pub fn page_read(&mut self, until: Option<ItemPosition>) -> u64 {
        self.sequence += 1;
        if let Some(mut range) = self.repairs.pop_front() {
            if until.is_some() && until != range.until {
                range.after = until;
                self.repairs.push_front(range);
            }
        } else {
            self.cursor = match until {
                Some(position) => Cursor::At(Some(position)),
                None => Cursor::Ended,
            };
        }
        self.sequence
    }

    /// The fence is not possible yet. `by_predecessor`: it becomes possible by somebody else's word, so that
    /// changes go on meanwhile; otherwise there is more to fold first.
    pub fn fence_refused(&mut self, by_predecessor: bool) {
        self.is_fence_refused = by_predecessor;
        self.is_sender_waiting = true;
    }

    /// Whether the sender must be told that there is something to do; true once for each wait.
    pub fn wakes_sender(&mut self, is_fence_possible: bool) -> bool {
        if is_fence_possible {
            self.is_fence_refused = false;
        }
        let has_more = !self.waiting.is_empty() || self.cursor != Cursor::Ended;
        if self.is_sender_waiting && (has_more || is_fence_possible) {
            self.is_sender_waiting = false;
            return true;
        }
        false
    }

    /// Ends the stream for the fence: the changes still waiting, as the tail.
    pub fn take_tail(&mut self) -> Vec<C> {
        if !self.waiting.is_empty() {
            self.sequence += 1;
        }
        self.take_waiting()
    }

    fn take_waiting(&mut self) -> Vec<C> {
        self.waiting_bytes = 0;
        #[cfg(tanodb_mutants)]
        if self.rules.breaks(Mutant::ChangesOvertake) {
            self.waiting.reverse();
        }
        std::mem::take(&mut self.waiting)
    }

    /// Whether everything was read and only the tail is left.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.cursor == Cursor::Ended && self.repairs.is_empty()
    }

    /// Sends these ranges again.
    pub fn repair(&mut self, ranges: impl IntoIterator<Item = ItemRange>) {
        self.repairs.extend(ranges);
    }

    /// No more than this goes with the fence, nor more than [`TAIL_BYTES_MAX`]: the way to the target takes no more
    /// in a moment. What waits beyond that is sent before the fence.
    pub fn limit_tail(&mut self, bytes_max: u64) {
        self.tail_bytes_max = bytes_max.min(TAIL_BYTES_MAX);
    }

    /// Whether no more waits than may go with the fence.
    #[must_use]
    pub fn has_short_tail(&self) -> bool {
        self.waiting_bytes <= self.tail_bytes_max
    }

    /// The number of the last part.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The number the tail will have, or the last part if there is no tail.
    #[must_use]
    pub fn sequence_of_fence(&self) -> u64 {
        self.sequence + u64::from(!self.waiting.is_empty())
    }

    /// Bytes of changes that wait to be sent.
    #[must_use]
    pub fn waiting_bytes(&self) -> u64 {
        self.waiting_bytes
    }
}

/// The position below which nothing of `position`'s order lies.
fn just_before(position: &ItemPosition) -> ItemPosition {
    ItemPosition { order: position.order, key: bytes::Bytes::new() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::protocol::digest::item_order;

    fn position(number: u64) -> ItemPosition {
        ItemPosition::of(bytes::Bytes::from(format!("key-{number}")))
    }

    type Content = BTreeMap<ItemPosition, u64>;

    /// Writes at the source, telling the stream.
    fn write(stream: &mut Stream<(ItemPosition, u64)>, source: &mut Content, at: u64, value: u64) {
        source.insert(position(at), value);
        stream.note([(position(at), 1, (position(at), value))]);
    }

    /// Sends one part to the target; false when there is nothing to send.
    fn send(
        stream: &mut Stream<(ItemPosition, u64)>,
        source: &Content,
        target: &mut Content,
        items: usize,
    ) -> bool {
        match stream.next_part() {
            Next::Changes(changes) => target.extend(changes),
            Next::Page(range) => {
                let inside = |place: &ItemPosition| range.contains(place.order, &place.key);
                let all: Vec<_> = source.iter().filter(|(place, _)| inside(place)).collect();
                let until = (all.len() > items).then(|| all[items - 1].0.clone());
                let page = ItemRange { after: range.after, until: until.clone() };
                target.retain(|place, _| !page.contains(place.order, &place.key));
                for (place, value) in all.into_iter().take(items) {
                    target.insert(place.clone(), *value);
                }
                stream.page_read(until);
            }
            Next::Nothing => return false,
        }
        true
    }

    /// Writes between the parts of a stream; tells whether the target then holds what the source holds.
    fn ends_equal(seed: u64, rules: Rules) -> bool {
        let (mut source, mut target) = (Content::new(), Content::new());
        let mut stream = Stream::default().under(rules);
        source.extend((0..50).map(|number| (position(number), 0)));
        let mut draw = seed;
        for value in 1..60 {
            draw = item_order(&draw.to_be_bytes()).0;
            write(&mut stream, &mut source, draw % 70, value);
            if draw.is_multiple_of(3) {
                send(&mut stream, &source, &mut target, 7);
            }
        }
        while send(&mut stream, &source, &mut target, 7) {}
        target.extend(stream.take_tail());
        assert!(stream.has_ended());
        source == target
    }

    #[test]
    fn the_target_holds_the_sources_content_whatever_is_written_between_parts() {
        for seed in 0..200 {
            assert!(ends_equal(seed, Rules::default()), "seed {seed}");
        }
    }

    #[test]
    fn a_change_above_the_cursor_is_not_sent_twice() {
        let mut stream: Stream<u8> = Stream::default();
        stream.note([(position(1), 1, 1)]);
        assert_eq!(stream.next_part(), Next::Page(ItemRange::all()));
    }

    #[test]
    fn a_big_change_moves_the_cursor_back() {
        let mut stream = Stream::without_fold();
        let many = (0..=CHANGES_AT_ONCE_MAX as u64).map(|number| (position(number), 1, number));
        stream.note(many.clone());
        let lowest = many.map(|(position, ..)| position).min().unwrap();
        let Next::Page(range) = stream.next_part() else { panic!("pages cover a big change") };
        assert!(range.contains(lowest.order, &lowest.key));
    }

    #[test]
    fn a_few_changes_after_the_fold_go_with_the_fence_and_do_not_keep_it_away() {
        let mut stream = Stream::without_fold();
        stream.note([(position(1), 10, 1)]);
        assert_eq!(stream.next_part(), Next::Nothing);
        stream.note([(position(2), TAIL_BYTES_MAX, 2)]);
        assert_eq!(stream.next_part(), Next::Changes(vec![1, 2]));
        stream.note([(position(3), 10, 3)]);
        stream.fence_refused(true);
        assert_eq!(stream.next_part(), Next::Changes(vec![3]), "while a predecessor is waited for");
    }

    #[test]
    fn what_is_too_much_for_the_fence_is_sent_before_it() {
        let mut stream = Stream::without_fold();
        stream.note([(position(1), 10, 1)]);
        assert_eq!(stream.next_part(), Next::Nothing);
        stream.limit_tail(9);
        assert!(!stream.has_short_tail());
        stream.fence_refused(false);
        assert!(stream.wakes_sender(false));
        assert_eq!(stream.next_part(), Next::Changes(vec![1]));
        stream.note([(position(2), 9, 2)]);
        assert_eq!(stream.next_part(), Next::Nothing);
        assert!(stream.has_short_tail());
    }

    #[test]
    fn a_waiting_sender_is_woken_once() {
        let mut stream = Stream::without_fold();
        assert_eq!(stream.next_part(), Next::Nothing);
        assert!(!stream.wakes_sender(false));
        stream.note([(position(1), 1, 1)]);
        assert!(stream.wakes_sender(false));
        assert!(!stream.wakes_sender(false));
    }

    #[test]
    fn a_repair_sends_the_named_ranges_and_nothing_else() {
        let mut stream: Stream<u8> = Stream::without_fold();
        let bucket = crate::protocol::digest::Bucket::try_from(3).unwrap().range();
        stream.repair([bucket.clone()]);
        assert_eq!(stream.next_part(), Next::Page(bucket));
        stream.page_read(None);
        assert_eq!(stream.next_part(), Next::Nothing);
    }
}
