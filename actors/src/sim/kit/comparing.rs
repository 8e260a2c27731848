//! The comparison of two copies, and how their first difference is told.

use bytes::Bytes;

use super::failure::Promise;
use super::trial::{Checked, Container, Content, Subject, Trial};
use crate::protocol::digest::{ItemPosition, ItemRange};

impl Trial<'_> {
    /// The vnode holds what its reported changes say.
    pub(super) fn verify(&mut self, subject: &mut Subject) -> Checked<()> {
        let Subject { vnode, mirror } = subject;
        self.compare(vnode, mirror, Promise::ReportsEveryChange, "by its reports")
    }

    /// Two containers hold the same, by their digests and by their items.
    pub(super) fn compare(
        &mut self,
        one: &mut Container,
        other: &mut Container,
        promise: Promise,
        name_of_other: &str,
    ) -> Checked<()> {
        let (here, there) = (one.digest(), other.digest());
        let digests_differ = here.summary() != there.summary() || !here.differing(there).is_empty();
        let (here, there) =
            (self.content(one, &ItemRange::all())?, self.content(other, &ItemRange::all())?);
        let difference = self.first_difference(one, &here, &there, name_of_other)?;
        match difference {
            Some(what) if digests_differ => return Err(self.broken(promise, what)),
            Some(what) => {
                let what = format!("{what}; yet the digests are equal");
                return Err(self.broken(Promise::DigestCoversItems, what));
            }
            None if digests_differ => {
                let what = format!(
                    "the same items, but the digests are {} here and {} {name_of_other}",
                    one.digest().summary(),
                    other.digest().summary()
                );
                return Err(self.broken(Promise::DigestCoversItems, what));
            }
            None => {}
        }
        let counted = one.digest().count();
        if counted != here.len() as u64 {
            let what = format!("{} items, of which the digest counts {counted}", here.len());
            return Err(self.broken(Promise::DigestCoversItems, what));
        }
        let has_authors = here.keys().any(|position| (self.is_authors)(&position.key));
        if has_authors && one.is_empty() {
            let what = format!("`is_empty` with {} items", here.len());
            return Err(self.broken(Promise::EmptyMeansEmpty, what));
        }
        Ok(())
    }

    pub(super) fn difference(
        &mut self,
        subject: &mut Subject,
        name_of_other: &str,
    ) -> Checked<String> {
        let here = self.content(&mut subject.vnode, &ItemRange::all())?;
        let there = self.content(&mut subject.mirror, &ItemRange::all())?;
        let found = self.first_difference(&mut subject.vnode, &here, &there, name_of_other)?;
        Ok(found.unwrap_or_else(|| "the digests differ".to_owned()))
    }

    /// The first item that two contents do not have in common, in words.
    fn first_difference(
        &mut self,
        container: &mut Container,
        here: &Content,
        there: &Content,
        name_of_other: &str,
    ) -> Checked<Option<String>> {
        let describe = |position: &ItemPosition| container.describe_key(&position.key);
        if let Some(missing) = here.keys().find(|position| !there.contains_key(position)) {
            return Ok(Some(format!("item {} is not there {name_of_other}", describe(missing))));
        }
        if let Some(extra) = there.keys().find(|position| !here.contains_key(position)) {
            return Ok(Some(format!("item {} is there only {name_of_other}", describe(extra))));
        }
        let differs =
            |(position, value): &(&ItemPosition, &Bytes)| there.get(position) != Some(value);
        let Some((position, _)) = here.iter().find(differs) else { return Ok(None) };
        let what = format!("item {} is another one {name_of_other}", describe(position));
        // An author may encode an item anew each time, with a salt: then only the digests can tell.
        let again = self.content(container, &ItemRange::all())?;
        Ok((again == *here).then_some(what))
    }
}
