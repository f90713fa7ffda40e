//! Which of the policy's destinations an attempt goes to.
//!
//! The most specific one wins; between equals, the stricter. On paths, specific is what lies deeper in the
//! tree; a mount, share or USB disk lies at the depth of its mount point.

pub(crate) mod host;
pub(crate) mod path;

use std::cmp::{Ordering, Reverse};
use std::ffi::OsStr;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::facts::{Ceiling, Destination, Mount, Usb};
use crate::record::Severity;
pub use host::{HostPattern, Hosts};
pub use path::PathPattern;

/// A destination that the policy names.
#[derive(Clone, Debug)]
pub struct DestinationEntry {
    /// Its name.
    pub name: String,
    /// Hosts and networks.
    pub hosts: Vec<HostPattern>,
    /// Mount points.
    pub mounts: Vec<PathPattern>,
    /// Directories. None of them reaches into a mount that lies below it.
    pub paths: Vec<PathPattern>,
    /// Network shares.
    pub shares: Vec<Share>,
    /// USB disks.
    pub usb: Vec<UsbPattern>,
    /// The highest tier that may go there.
    pub ceiling: Ceiling,
    /// What is asked of the user's reason, where he must give one.
    pub justify: Option<Justify>,
    /// Most distinct objects in a day.
    pub max_objects_per_day: Option<u32>,
    /// Largest share of one master's area, summed over fragments (0.0 to 1.0).
    pub max_coverage: Option<f64>,
    /// How grave a refused transfer there is; none: as its masters' collections say.
    pub severity: Option<Severity>,
}

/// What is asked of a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Justify {
    /// How long it holds for one file.
    pub window: Duration,
    /// Within which time a second person has to approve it before that; none: nobody has to.
    pub approval: Option<Duration>,
}

/// The source of a network file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The server, in lower case.
    pub server: String,
    /// The parts of the exported path, or of the share and the path in it.
    pub parts: Vec<String>,
    /// Whether it is written as SMB writes it, `//server/share`.
    pub smb: bool,
}

/// USB disks of one kind, or one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsbPattern {
    /// Four lower-case hexadecimal digits.
    pub vendor: String,
    /// Four lower-case hexadecimal digits.
    pub product: String,
    /// The serial number; none: every disk of the kind.
    pub serial: Option<String>,
}

/// How specific a match is; the greater, the more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Specificity {
    /// On the network.
    Host(host::Narrowness),
    /// In the file tree: depth of the matched directory, then what matched, then how much of a share.
    Tree(usize, Kind, usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Path,
    Mount,
    Share,
    Usb,
    UsbSerial,
}

/// A destination in the form in which entries are compared with it, made once for all of them.
enum Target<'a> {
    Host { name: Option<&'a str>, address: Option<IpAddr>, port: u16 },
    Tree { path: Vec<&'a OsStr>, point: Option<Vec<&'a OsStr>>, share: Option<Share>, usb: Option<&'a Usb> },
}

impl<'a> Target<'a> {
    /// None where the path is not absolute: it is no place that an entry could name.
    fn of(destination: &'a Destination) -> Option<Target<'a>> {
        Some(match destination {
            Destination::Host { name, address, port } => {
                Target::Host { name: name.as_deref(), address: *address, port: *port }
            }
            Destination::Path { path, mount } => {
                let mount = mount.as_ref();
                Target::Tree {
                    path: path::parts(path)?,
                    point: mount.map(|mount| path::parts(&mount.point).unwrap_or_default()),
                    share: mount.and_then(|mount| Share::parse(mount.share.as_deref()?).ok()),
                    usb: mount.and_then(|mount| mount.usb.as_ref()),
                }
            }
        })
    }
}

/// The entry that decides over `destination`.
pub(crate) fn most_specific<'d>(
    entries: &'d [DestinationEntry],
    destination: &Destination,
) -> Option<&'d DestinationEntry> {
    let target = Target::of(destination)?;
    let mut best: Option<(Specificity, &DestinationEntry)> = None;
    for entry in entries {
        let Some(specificity) = entry.specificity(&target) else { continue };
        let better = best.as_ref().is_none_or(|(best_specificity, best_entry)| {
            specificity.cmp(best_specificity).then_with(|| entry.strictness(best_entry)) == Ordering::Greater
        });
        if better {
            best = Some((specificity, entry));
        }
    }
    best.map(|(_, entry)| entry)
}

impl DestinationEntry {
    /// Whether `destination` is one that this entry names, be another entry more specific or not.
    #[must_use]
    pub fn matches(&self, destination: &Destination) -> bool {
        Target::of(destination).is_some_and(|target| self.specificity(&target).is_some())
    }

    fn specificity(&self, target: &Target<'_>) -> Option<Specificity> {
        match target {
            Target::Host { name, address, port } => self
                .hosts
                .iter()
                .filter_map(|host| host.narrowness(*name, *address, *port))
                .max()
                .map(Specificity::Host),
            Target::Tree { path, point, share, usb } => self.in_tree(path, point.as_deref(), share.as_ref(), *usb),
        }
    }

    fn in_tree(
        &self,
        path: &[&OsStr],
        point: Option<&[&OsStr]>,
        source: Option<&Share>,
        usb: Option<&Usb>,
    ) -> Option<Specificity> {
        let depth = point.map_or(0, <[_]>::len);
        // A stick that is mounted below an approved directory is not approved.
        let paths = self
            .paths
            .iter()
            .filter(|directory| directory.covers_parts(path) && depth <= directory.depth())
            .map(|directory| Specificity::Tree(directory.depth(), Kind::Path, 0));
        let mounts = self
            .mounts
            .iter()
            .filter(|wanted| point.map_or_else(|| wanted.covers_parts(path), |point| wanted.is_parts(point)))
            .map(|wanted| Specificity::Tree(wanted.depth(), Kind::Mount, 0));
        let shares = self
            .shares
            .iter()
            .filter(|share| source.is_some_and(|source| share.holds(source)))
            .map(|share| Specificity::Tree(depth, Kind::Share, share.parts.len()));
        let disks = self
            .usb
            .iter()
            .filter(|disk| usb.is_some_and(|usb| disk.matches(usb)))
            .map(|disk| if disk.serial.is_some() { Kind::UsbSerial } else { Kind::Usb })
            .map(|kind| Specificity::Tree(depth, kind, 0));
        paths.chain(mounts).chain(shares).chain(disks).max()
    }

    /// `Greater` where this entry lets less through than `other`; of two that let the same through, the graver one.
    fn strictness(&self, other: &DestinationEntry) -> Ordering {
        let justify = |entry: &DestinationEntry| {
            let asked = |asked: Justify| (asked.approval.is_some(), Reverse((asked.window, asked.approval)));
            entry.justify.map(asked)
        };
        let objects = |entry: &DestinationEntry| entry.max_objects_per_day.unwrap_or(u32::MAX);
        let coverage = |entry: &DestinationEntry| entry.max_coverage.unwrap_or(f64::INFINITY);
        let grave = |entry: &DestinationEntry| (entry.severity.unwrap_or(Severity::REFUSED), entry.severity);
        other
            .ceiling
            .cmp(&self.ceiling)
            .then_with(|| justify(self).cmp(&justify(other)))
            .then_with(|| objects(other).cmp(&objects(self)))
            .then_with(|| coverage(other).total_cmp(&coverage(self)))
            .then_with(|| grave(self).cmp(&grave(other)))
    }
}

impl Share {
    /// Reads `//server/share/path` (or with backslashes) or `server:/path`.
    ///
    /// # Errors
    /// What is wrong with it, as one clause.
    pub(crate) fn parse(text: &str) -> Result<Share, String> {
        let slashes = text.replace('\\', "/");
        let (server, path, smb) = match slashes.strip_prefix("//") {
            Some(rest) => {
                let (server, path) = rest.split_once('/').ok_or("names no share behind its server")?;
                (server, path, true)
            }
            None => {
                let (server, path) = slashes.split_once(":/").ok_or("is no share")?;
                (server.trim_start_matches('[').trim_end_matches(']'), path, false)
            }
        };
        if server.is_empty() || server.contains(|letter: char| letter.is_whitespace() || letter == '/') {
            return Err("names no server".to_owned());
        }
        let mut parts = Vec::new();
        for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
            if part == ".." {
                parts.pop();
            } else {
                parts.push(part.to_owned());
            }
        }
        if smb && parts.is_empty() {
            return Err("names no share behind its server".to_owned());
        }
        Ok(Share { server: host::host_name(server), parts, smb })
    }

    /// Whether `source` is this share or a directory in it.
    fn holds(&self, source: &Share) -> bool {
        self.smb == source.smb && self.server == source.server && source.parts.starts_with(&self.parts)
    }
}

impl UsbPattern {
    fn matches(&self, usb: &Usb) -> bool {
        self.vendor.eq_ignore_ascii_case(&usb.vendor)
            && self.product.eq_ignore_ascii_case(&usb.product)
            && self.serial.as_ref().is_none_or(|serial| *serial == usb.serial)
    }
}

/// A USB id as it is compared.
///
/// # Errors
/// It is not four hexadecimal digits.
pub(crate) fn usb_id(text: &str) -> Result<String, String> {
    if text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("is not four hexadecimal digits".to_owned())
    }
}

/// Reads a destination as a `[[test]]` or a command line names it: `host:port`, `[v6]:port`, an absolute
/// path, a share (`//nas1/scans`, `nas1:/archive`) or `usb:VVVV:PPPP[:SERIAL]`. A share or disk is taken as
/// mounted at `/`; of a path the mount is not known, so that a `mounts` entry counts by its letters.
///
/// # Errors
/// What is wrong with it, as one sentence without a dot.
pub fn parse_destination(text: &str) -> Result<Destination, String> {
    let complain = |what: String| format!("`{text}` {what}");
    if text.contains("://") {
        return Err(complain("is an address of a page; write its host and port, as in `host:443`".to_owned()));
    }
    let mounted = |share, usb| Destination::Path {
        path: PathBuf::from("/"),
        mount: Some(Mount { point: PathBuf::from("/"), kind: String::new(), share, usb }),
    };
    if let Some(device) = text.strip_prefix("usb:") {
        let mut fields = device.splitn(3, ':');
        let vendor =
            usb_id(fields.next().unwrap_or_default()).map_err(|what| complain(format!("has a vendor that {what}")))?;
        let product =
            usb_id(fields.next().unwrap_or_default()).map_err(|what| complain(format!("has a product that {what}")))?;
        let serial = fields.next().unwrap_or_default().to_owned();
        return Ok(mounted(None, Some(Usb { vendor, product, serial })));
    }
    if text.starts_with("//") || text.starts_with("\\\\") || text.contains(":/") {
        Share::parse(text).map_err(complain)?;
        return Ok(mounted(Some(text.to_owned()), None));
    }
    if text.starts_with('/') {
        return Ok(Destination::Path { path: PathBuf::from(text), mount: None });
    }
    let (host, port) = host::split_port(text).map_err(complain)?;
    let port = port.ok_or_else(|| {
        complain("is no destination: a host needs its port, as in `host:443`, and a path begins with `/`".to_owned())
    })?;
    match host.parse::<IpAddr>() {
        Ok(address) => Ok(Destination::Host { name: None, address: Some(address), port }),
        Err(_) => {
            let name = host::valid_name(host).map_err(complain)?;
            Ok(Destination::Host { name: Some(name), address: None, port })
        }
    }
}
