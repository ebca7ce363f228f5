//! Capabilities: root's powers, given up but for those that the configuration needs.

use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities,
};

/// Holds the powers that are kept, if they are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Powers(CapabilitySet);

impl Default for Powers {
    /// Keeps none.
    fn default() -> Self {
        Self(CapabilitySet::empty())
    }
}

impl Powers {
    /// Lets files and sockets be given to other owners and groups.
    pub fn keep_giving_away(&mut self) {
        self.0 |= CapabilitySet::CHOWN;
    }

    /// Lets ports below 1024 be listened on.
    pub fn keep_low_ports(&mut self) {
        self.0 |= CapabilitySet::NET_BIND_SERVICE;
    }

    /// Names a power that another configuration needs besides.
    pub(super) fn lacks(self, other: Self) -> Option<String> {
        let names = [
            (CapabilitySet::CHOWN, "CAP_CHOWN"),
            (CapabilitySet::NET_BIND_SERVICE, "CAP_NET_BIND_SERVICE"),
        ];
        let lacking = other.0.difference(self.0);
        let name = names.into_iter().find(|(power, _)| lacking.contains(*power));
        name.map(|(_, name)| name.to_owned())
    }

    /// Gives up all others; tells whether that worked.
    pub(super) fn keep_only(self) -> bool {
        let Ok(before) = capabilities(None) else {
            return false;
        };
        // These two only matter to a program that is executed, and none is.
        for power in CapabilitySet::all().difference(self.0).iter() {
            remove_capability_from_bounding_set(power).ok();
        }
        clear_ambient_capability_set().ok();
        let kept = before.permitted.intersection(self.0);
        let sets = CapabilitySets {
            effective: kept,
            permitted: kept,
            inheritable: CapabilitySet::empty(),
        };
        // Where there is nothing to give up a service manager may have forbidden the call.
        sets == before || set_capabilities(None, sets).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_up_is_named() {
        let mut both = Powers::default();
        both.keep_giving_away();
        both.keep_low_ports();
        assert_eq!(both.lacks(both), None);
        assert_eq!(both.lacks(Powers::default()), None);
        assert_eq!(Powers::default().lacks(both).as_deref(), Some("CAP_CHOWN"));
        let mut chown = Powers::default();
        chown.keep_giving_away();
        assert_eq!(chown.lacks(both).as_deref(), Some("CAP_NET_BIND_SERVICE"));
    }
}
