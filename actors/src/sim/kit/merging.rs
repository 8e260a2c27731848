//! The laws of merging, tried on three copies that had a common past and went three ways.

use super::failure::Promise;
use super::trial::{Checked, Container, Subject, Trial};
use crate::protocol::digest::ItemRange;
use crate::runtime::items::PageLimits;
use crate::runtime::vnode::raw::Changes;

/// Commands that only one of the copies executes.
const APART: u64 = 30;

/// How often the laws are tried.
const ROUNDS: u64 = 4;

pub(super) fn laws(trial: &mut Trial<'_>, subject: &mut Subject) -> Checked<()> {
    trial.begin("three copies go three ways and are merged");
    for _ in 0..ROUNDS {
        let mut one = apart(trial, subject)?;
        let mut two = apart(trial, subject)?;
        let mut three = apart(trial, subject)?;
        count_conflicts(trial, &mut one, &mut two)?;
        commutes(trial, &mut one, &mut two)?;
        associates(trial, &mut one, &mut two, &mut three)?;
        is_idempotent(trial, &mut one, &mut two)?;
    }
    Ok(())
}

/// A copy that has executed commands of its own.
fn apart(trial: &mut Trial<'_>, subject: &mut Subject) -> Checked<Container> {
    let vnode = trial.copy(&mut subject.vnode)?;
    let mirror = trial.copy(&mut subject.vnode)?;
    let mut copy = Subject { vnode, mirror };
    for _ in 0..APART {
        trial.execute(&mut copy)?;
    }
    Ok(copy.vnode)
}

fn count_conflicts(trial: &mut Trial<'_>, one: &mut Container, two: &mut Container) -> Checked<()> {
    let here = trial.content(one, &ItemRange::all())?;
    let there = trial.content(two, &ItemRange::all())?;
    let differs = here
        .iter()
        .filter(|(position, value)| there.get(*position).is_some_and(|other| other != *value));
    trial.report.conflicts += differs.count() as u64;
    Ok(())
}

/// `onto` with `other` merged into it, page by page, as hints come home; what it reports is held against it.
fn merged(
    trial: &mut Trial<'_>,
    onto: &mut Container,
    other: &mut Container,
) -> Checked<Container> {
    let mut subject = Subject { vnode: trial.copy(onto)?, mirror: trial.copy(onto)? };
    let limits = PageLimits { items: 16, ..PageLimits::default() };
    for (_, page) in trial.fold(other, &ItemRange::all(), limits)? {
        let joined = subject.vnode.merge(&page.items);
        let changes: Changes = joined.map_err(|error| {
            let what = format!("a page of {} items cannot be merged: {error}", page.count);
            trial.broken(Promise::MergeCommutes, what)
        })?;
        trial.follow(&mut subject, &changes)?;
    }
    trial.step("one copy is merged into another".to_owned());
    trial.verify(&mut subject)?;
    Ok(subject.vnode)
}

fn commutes(trial: &mut Trial<'_>, one: &mut Container, two: &mut Container) -> Checked<()> {
    let mut into_one = merged(trial, one, two)?;
    let mut into_two = merged(trial, two, one)?;
    trial.compare(&mut into_one, &mut into_two, Promise::MergeCommutes, "merged the other way")
}

fn associates(
    trial: &mut Trial<'_>,
    one: &mut Container,
    two: &mut Container,
    three: &mut Container,
) -> Checked<()> {
    let mut first_two = merged(trial, one, two)?;
    let mut left = merged(trial, &mut first_two, three)?;
    let mut last_two = merged(trial, two, three)?;
    let mut right = merged(trial, one, &mut last_two)?;
    trial.compare(&mut left, &mut right, Promise::MergeAssociates, "grouped the other way")
}

fn is_idempotent(trial: &mut Trial<'_>, one: &mut Container, two: &mut Container) -> Checked<()> {
    let mut itself = trial.copy(one)?;
    let mut with_itself = merged(trial, one, &mut itself)?;
    let name = "after it was merged with itself";
    trial.compare(one, &mut with_itself, Promise::MergeIsIdempotent, name)?;
    let mut once = merged(trial, one, two)?;
    let mut twice = merged(trial, &mut once, two)?;
    trial.compare(&mut once, &mut twice, Promise::MergeIsIdempotent, "after it was merged again")
}
