//! `OneOwner`: for each vnode and token at most one node executes, and tokens rise.

use std::collections::{BTreeMap, BTreeSet};

use super::Invariant;
use super::rest::Judged;
use super::world::{ByVnode, Place, Stands, World, place};
use crate::protocol::handoff::Handoff;
use crate::protocol::hash::RingHash;
use crate::protocol::id::{ClusterId, Token, TransferId, VnodeRef, VnodeType};
use crate::runtime::observe::Observed;
use crate::sim::trace::Seen;

pub(super) const NAME: &str = "OneOwner";

/// See the module. Tried by every command that is executed while the vnode moves, and by every change of owner.
pub(super) struct OneOwner {
    world: World,
    executed: ByVnode<BTreeMap<Token, Place>>,
    /// Grants whose record is durable at the source.
    granted: BTreeSet<TransferId>,
    exercised: u64,
}

impl OneOwner {
    pub(super) fn within(world: World) -> Self {
        Self { world, executed: ByVnode::default(), granted: BTreeSet::new(), exercised: 0 }
    }

    fn executed(
        &mut self,
        seen: &Seen,
        cluster: ClusterId,
        vnode: &VnodeRef,
        token: Token,
    ) -> Result<(), String> {
        let here = place(seen);
        let stands = self.world.stands(cluster, vnode, &here);
        if stands.speaks_under() != Some(token) {
            let node = &seen.node;
            return Err(format!("{node} executes for {vnode:?} under {token}, and is {stands:?}"));
        }
        let is_moving = self.world.is_anywhere(cluster, vnode, |_, stands| stands.is_moving());
        self.exercised += u64::from(is_moving);
        let executed = self.executed.at(cluster, vnode);
        match executed.last_key_value() {
            Some((newest, by)) if *newest > token => Err(format!(
                "{} executes for {vnode:?} under {token}, after {} did under {newest}",
                seen.node, by.0
            )),
            Some((newest, by)) if *newest == token && *by != here => Err(format!(
                "{} and {}, life {}, execute for {vnode:?} under {token}",
                seen.node, by.0, by.1
            )),
            Some((newest, _)) if *newest == token => Ok(()),
            Some(_) | None => {
                executed.insert(token, here);
                Ok(())
            }
        }
    }

    fn stands(
        &mut self,
        seen: &Seen,
        cluster: ClusterId,
        vnode: &VnodeRef,
        state: &Handoff,
    ) -> Result<(), String> {
        let (here, stands) = (place(seen), Stands::of(state));
        if let Stands::Accepts(transfer, _) = stands
            && !self.granted.contains(&transfer)
        {
            let node = &seen.node;
            return Err(format!(
                "{node} was granted {vnode:?} by transfer {transfer}, which its source may forget"
            ));
        }
        if stands.speaks_under().is_none() {
            return Ok(());
        }
        let mut other = None;
        let speaks_too = |at: &Place, stands: Stands| {
            let speaks = *at != here && stands.speaks_under().is_some();
            if speaks {
                other = Some(at.0.clone());
            }
            speaks
        };
        if self.world.is_anywhere(cluster, vnode, speaks_too) {
            let other = other.unwrap_or_else(|| "another".into());
            return Err(format!("{} and {other} both speak for {vnode:?}", seen.node));
        }
        Ok(())
    }
}

impl Invariant for OneOwner {
    fn name(&self) -> &'static str {
        NAME
    }

    fn saw(&mut self, seen: &Seen) -> Result<(), String> {
        if let Observed::Executed { cluster, vnode, token, .. } = &seen.event {
            return self.executed(seen, *cluster, vnode, *token);
        }
        if let Observed::RecordKept { state: Handoff::Granting { outgoing, .. }, .. } = &seen.event
        {
            self.granted.insert(outgoing.transfer);
        }
        if let Observed::VnodeMoved { vnode, before, after, .. } = &seen.event {
            rises(seen, vnode, before, after)?;
            let speaks = |state| Stands::of(state).speaks_under().is_some();
            self.exercised += u64::from(!speaks(before) && speaks(after));
        }
        if let Observed::VnodeStarted { cluster, vnode, state: after }
        | Observed::VnodeMoved { cluster, vnode, after, .. } = &seen.event
        {
            self.stands(seen, *cluster, vnode, after)?;
        }
        Ok(())
    }

    fn exercised(&self) -> u64 {
        self.exercised
    }
}

/// A source that has granted never goes on under what it had, or under what it gave.
fn rises(seen: &Seen, vnode: &VnodeRef, before: &Handoff, after: &Handoff) -> Result<(), String> {
    let Stands::Grants(_, old) = Stands::of(before) else { return Ok(()) };
    match Stands::of(after) {
        Stands::Resumes(new) | Stands::Speaks(new) if new <= old.granted() => {
            let node = &seen.node;
            Err(format!("{node} has granted {vnode:?} from {old}, and goes on under {new}"))
        }
        Stands::Nothing
        | Stands::Speaks(_)
        | Stands::Sends(_)
        | Stands::Fenced(_)
        | Stands::Grants(..)
        | Stands::Resumes(_)
        | Stands::Staged(_)
        | Stands::Holds(_)
        | Stands::Accepts(..)
        | Stands::Lost => Ok(()),
    }
}

/// Of every partition there is one owner, unless the memory of the last one is gone.
pub(super) fn at_rest(judged: &Judged<'_>) -> Result<u64, String> {
    let mut owners: BTreeMap<(VnodeType, RingHash), u32> = BTreeMap::new();
    let mut size = None;
    for account in judged.sound() {
        size = Some(account.ring.ring_size);
        for row in account.rows.iter().filter(|row| row.container == "owned") {
            *owners.entry((row.vnode_type.clone(), row.partition)).or_default() += 1;
        }
    }
    let types: BTreeSet<VnodeType> = owners.keys().map(|(of_type, _)| of_type.clone()).collect();
    for (vnode_type, size) in types.iter().flat_map(|it| size.map(|size| (it, size))) {
        for partition in size.partitions() {
            let index = size.index_of(partition);
            let count = owners.get(&(vnode_type.clone(), index)).copied().unwrap_or(0);
            let vnode = VnodeRef { vnode_type: vnode_type.clone(), partition };
            let is_lost = count == 0 && judged.world.is_lost(judged.cluster, &vnode);
            if count != 1 && !is_lost {
                return Err(format!("{vnode:?} has {count} owners at rest"));
            }
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::super::told::*;
    use super::*;

    /// Ada gives the vnode to bob.
    fn given() -> Told {
        let mut told = Told::to(OneOwner::within);
        told.starts("ada", owner(0)).starts("bob", absent());
        told.and("ada", executed(0, 1, 1));
        told.goes("ada", &[owner(0), sending(0), fenced(0), granting(0)]);
        told.and("ada", kept(granting(0), None));
        told.goes("bob", &[absent(), staging(), holding(), accepting(1), owner(1)]);
        told
    }

    #[test]
    fn a_vnode_that_is_given_away_has_one_owner_at_every_moment() {
        let mut told = given();
        told.and("bob", executed(1, 2, 1)).goes("ada", &[granting(0), retired(1), absent()]);
        told.and("bob", executed(1, 3, 1));
        assert_eq!(told.exercised(), 2, "a new owner, and a command beside a grant");
    }

    #[test]
    fn a_source_that_executes_behind_its_fence_is_seen() {
        let mut told = Told::to(OneOwner::within);
        told.starts("ada", owner(0)).goes("ada", &[owner(0), sending(0)]);
        told.and("ada", executed(0, 1, 1)).goes("ada", &[sending(0), fenced(0)]);
        assert!(told.hears("ada", executed(0, 2, 1)).is_err());
    }

    #[test]
    fn a_command_under_an_older_token_than_one_before_is_seen() {
        let mut told = given();
        told.and("bob", executed(1, 2, 1)).dies("bob");
        told.starts("ada", owner(0));
        assert!(told.hears("ada", executed(0, 3, 1)).is_err());
    }

    #[test]
    fn a_token_under_which_a_second_node_executes_is_seen() {
        let mut told = given();
        told.and("bob", executed(1, 2, 1)).dies("bob").starts("cyd", owner(1));
        assert!(told.hears("cyd", executed(1, 3, 1)).is_err());
    }

    #[test]
    fn two_nodes_that_speak_at_once_are_seen_before_they_execute() {
        let mut told = given();
        assert!(told.hears("ada", moved(&[granting(0), owner(2)])).is_err());
    }

    #[test]
    fn a_source_that_goes_on_under_what_it_had_or_gave_is_seen() {
        for (hop, is_legal) in [(0, false), (1, false), (2, true)] {
            let mut told = Told::to(OneOwner::within);
            told.starts("ada", owner(0))
                .goes("ada", &[owner(0), sending(0), fenced(0), granting(0)]);
            let resumes = told.hears("ada", moved(&[granting(0), resuming(hop)]));
            assert_eq!(resumes.is_ok(), is_legal, "hop {hop}");
        }
    }

    #[test]
    fn a_grant_that_its_source_may_forget_is_seen() {
        let mut told = Told::to(OneOwner::within);
        told.starts("ada", owner(0)).goes("ada", &[owner(0), sending(0), fenced(0), granting(0)]);
        told.starts("bob", holding());
        assert!(told.hears("bob", moved(&[holding(), accepting(1)])).is_err());
    }

    #[test]
    fn founders_of_two_clusters_have_tokens_of_their_own() {
        let mut told = Told::to(OneOwner::within);
        told.starts("ada", owner(0)).and("ada", executed(0, 1, 1));
        let cluster = ClusterId(8);
        let state = owner(0);
        told.and("bob", Observed::VnodeStarted { cluster, vnode: vnode(), state });
        let Observed::Executed { vnode, class, token, op, stamp, dot, changes, .. } =
            executed(0, 2, 1)
        else {
            unreachable!("it is one")
        };
        told.and(
            "bob",
            Observed::Executed { cluster, vnode, class, token, op, stamp, dot, changes },
        );
        assert_eq!(told.exercised(), 0, "nothing moved");
    }
}
