//! What a vnode is told of the limits of its node.

use std::time::Duration;

use super::raw::PageLimits;
use crate::protocol::rules::Rules;

/// Limits and periods of a vnode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VnodeSettings {
    /// Items and bytes of one page.
    pub page: PageLimits,
    /// How long hints must have been left alone before they go home. Default 60 s.
    pub hinted_idle: Duration,
    /// Commands that may be parked or queued during a handoff. Default 1,000.
    pub parked_max: usize,
    /// Commands that may be under way. Default 1,024.
    pub permits: usize,
    /// How far ahead of this node's clock a stamp may be. Default 10 s.
    pub max_clock_ahead: Duration,
    /// The rules it decides by.
    pub rules: Rules,
}
