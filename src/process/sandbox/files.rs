//! Landlock: which files can be opened, and which TCP ports be used.

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, NetPort,
    PathBeneath, PathFd, RestrictionStatus, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};

use super::Reach;

/// What it takes: a socket is renamed into place, which the first version forbids altogether.
const LEAST: ABI = ABI::V2;
/// The first version that knows of ports.
const WITH_PORTS: ABI = ABI::V4;
/// The last version whose rights were looked at here.
const KNOWN: ABI = ABI::V7;

/// Confines this thread; tells whether files and ports are held.
pub(super) fn restrict(reach: &Reach) -> (bool, bool) {
    let Ok(status) = attempt(reach) else {
        return (false, false);
    };
    let files = status.ruleset != RulesetStatus::NotEnforced;
    let network = match status.landlock {
        LandlockStatus::Available { effective_abi, .. } => effective_abi >= WITH_PORTS,
        _ => false,
    };
    (files, files && network)
}

fn attempt(reach: &Reach) -> Result<RestrictionStatus, RulesetError> {
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(LEAST))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(KNOWN))?
        .handle_access(AccessNet::from_all(KNOWN))?
        .scope(scopes(reach))?
        .create()?;
    allow(ruleset, reach)?.restrict_self()
}

/// Signals go to nobody outside; nor do messages, unless the service manager waits for some.
fn scopes(reach: &Reach) -> BitFlags<Scope> {
    if reach.abstract_sockets { Scope::Signal.into() } else { Scope::from_all(KNOWN) }
}

fn allow(mut ruleset: RulesetCreated, reach: &Reach) -> Result<RulesetCreated, RulesetError> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let places = reach.read.iter().map(|path| (path, read));
    let places = places.chain(reach.write.iter().map(|path| (path, written())));
    for (path, rights) in places {
        // What cannot be opened now is out of reach, and whoever needs it says so.
        if let Ok(place) = PathFd::new(path) {
            let rights = if path.is_dir() { rights } else { rights & AccessFs::from_file(KNOWN) };
            ruleset = ruleset.add_rule(PathBeneath::new(place, rights))?;
        }
    }
    for port in &reach.bind {
        ruleset = ruleset.add_rule(NetPort::new(*port, AccessNet::BindTcp))?;
    }
    for port in &reach.connect {
        ruleset = ruleset.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
    }
    Ok(ruleset)
}

/// All that it takes to make and replace files and sockets: no device, no link, no program.
fn written() -> BitFlags<AccessFs> {
    AccessFs::ReadFile
        | AccessFs::ReadDir
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::RemoveFile
        | AccessFs::RemoveDir
        | AccessFs::MakeReg
        | AccessFs::MakeDir
        | AccessFs::MakeSock
        | AccessFs::Refer
}
