//! Places that many refused transfers went to, in the words of a policy.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use toml::Value;

use crate::facts::{Destination, Tier, Usb};
use crate::matcher::{HostPattern, PathPattern, Share, usb_id};
use crate::policy::Policy;
use crate::record::printable;

/// Fewer transfers than these are no habit.
const MANY: u64 = 10;
/// Suggestions in one report.
const MOST: usize = 20;

/// What a `[[destination]]` would name to cover a transfer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Place {
    Host(String),
    Share(String),
    Usb { vendor: String, product: String, serial: String },
    Mount(PathBuf),
    Directory(PathBuf),
}

/// What was refused at one place.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) tiers: BTreeMap<Tier, u64>,
    pub(super) users: HashSet<String>,
}

/// A destination that many refused transfers went to. Whether it may receive them is for people to decide.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Suggestion {
    /// Transfers that are refused there now.
    pub transfers: u64,
    /// Distinct users that made them.
    pub users: usize,
    /// How many transfers of each tier, by its name.
    pub tiers: BTreeMap<String, u64>,
    /// A `[[destination]]` for the policy file whose ceiling is the tier of most of them, with a comment that says so.
    pub toml: String,
}

impl Place {
    /// The share, USB disk, mount or host, or the directory on the workstation's own disk.
    pub(super) fn of(destination: &Destination) -> Place {
        let (path, mount) = match destination {
            Destination::Host { .. } => return Place::Host(destination.target()),
            Destination::Path { path, mount } => (path, mount.as_ref()),
        };
        let directory = || Place::Directory(path.parent().unwrap_or(path).to_owned());
        let Some(mount) = mount else { return directory() };
        match (&mount.share, &mount.usb) {
            (Some(share), _) => Place::Share(share.clone()),
            (None, Some(Usb { vendor, product, serial })) => {
                Place::Usb { vendor: vendor.clone(), product: product.clone(), serial: serial.clone() }
            }
            (None, None) if mount.point == Path::new("/") => directory(),
            (None, None) => Place::Mount(mount.point.clone()),
        }
    }

    /// As people read it, safe to print.
    pub(super) fn text(&self) -> String {
        match self {
            Place::Host(host) => host.clone(),
            Place::Share(share) => printable(share.as_bytes()),
            Place::Usb { vendor, product, serial } => {
                printable(format!("usb:{vendor}:{product}:{serial}").trim_end_matches(':').as_bytes())
            }
            Place::Mount(path) | Place::Directory(path) => printable(path.as_os_str().as_bytes()),
        }
    }

    /// The key of a `[[destination]]` and its list; none where a policy cannot name it.
    fn key(&self) -> Option<String> {
        let listed = |key: &str, text: &str| format!("{key} = [{}]", quoted(text));
        Some(match self {
            Place::Host(host) => listed("hosts", HostPattern::parse(host).ok().map(|_| host)?),
            Place::Share(share) => listed("shares", Share::parse(share).ok().and_then(|_| is_plain(share))?),
            Place::Usb { vendor, product, serial } => {
                usb_id(vendor).and_then(|_| usb_id(product)).ok()?;
                // A disk without a serial number cannot be told from any other of its kind.
                let serial = is_plain(serial).filter(|serial| !serial.trim().is_empty()).map(quoted)?;
                format!("usb = [{{ vendor = {}, product = {}, serial = {serial} }}]", quoted(vendor), quoted(product))
            }
            Place::Mount(path) => listed("mounts", fixed(path)?),
            Place::Directory(path) => listed("paths", fixed(path)?),
        })
    }
}

/// A directory that a policy can name by its letters.
fn fixed(path: &Path) -> Option<&str> {
    let text = path.to_str().and_then(is_plain)?;
    PathPattern::parse(text).ok().filter(|pattern| pattern.depth() > 0 && !pattern.has_wildcard()).map(|_| text)
}

fn is_plain(text: &str) -> Option<&str> {
    (printable(text.as_bytes()) == text).then_some(text)
}

fn quoted(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}

/// The places with many transfers, those with the most first.
pub(super) fn of(policy: &Policy, places: &HashMap<Place, Seen>) -> Vec<Suggestion> {
    let mut many: Vec<(u64, &Place, &Seen)> = places
        .iter()
        .map(|(place, seen)| (seen.tiers.values().sum(), place, seen))
        .filter(|(transfers, ..)| *transfers >= MANY)
        .collect();
    many.sort_by(|(few, a, _), (more, b, _)| more.cmp(few).then_with(|| a.cmp(b)));
    many.into_iter().filter_map(|(_, place, seen)| suggestion(policy, place, seen)).take(MOST).collect()
}

fn suggestion(policy: &Policy, place: &Place, seen: &Seen) -> Option<Suggestion> {
    let key = place.key()?;
    let transfers = seen.tiers.values().sum();
    // Of two tiers that are as common, the lower one.
    let (tier, _) = seen.tiers.iter().rev().max_by_key(|(_, transfers)| **transfers)?;
    let tiers: BTreeMap<String, u64> =
        seen.tiers.iter().map(|(tier, transfers)| (policy.tier_name(*tier).to_owned(), *transfers)).collect();
    let of_each: Vec<_> = tiers.iter().map(|(tier, transfers)| format!("{transfers} of tier {tier}")).collect();
    let users = match seen.users.len() {
        1 => "1 user".to_owned(),
        many => format!("{many} users"),
    };
    let mut name = format!("suggested: {}", place.text());
    while policy.destinations.iter().any(|entry| entry.name == name) {
        name.push('+');
    }
    let toml = format!(
        "# Suggestion: {transfers} refused transfers by {users} went there ({}). Keep it only if they should.\n\
         [[destination]]\nname = {}\n{key}\nceiling = {}\n",
        of_each.join(", "),
        quoted(&name),
        quoted(policy.tier_name(*tier)),
    );
    Some(Suggestion { transfers, users: seen.users.len(), tiers, toml })
}
