//! Plain facts about one event: who, with which label, to where.

use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::record::printable;

/// Rank of a resolution class in one policy: 0 is the lowest named tier, and the one above the last
/// named tier is `master`. Ranks of two policies must not be compared; names are what travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Tier(pub u8);

/// The highest tier that a destination may receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ceiling {
    /// Nothing that is labelled at all.
    None,
    /// This tier and every lower one.
    UpTo(Tier),
}

impl Ceiling {
    /// Whether a file of `tier` may go where this is the ceiling.
    #[must_use]
    pub fn admits(self, tier: Tier) -> bool {
        matches!(self, Ceiling::UpTo(highest) if tier <= highest)
    }
}

/// What was measured of a picture, in the units of the policy file.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measure {
    /// Width times height, in millions of pixels.
    pub megapixels: f64,
    /// Length in the picture over length in the master (1.0: full size), where the master is known.
    pub scale: Option<f64>,
    /// Bits per channel.
    pub bit_depth: u8,
}

/// Where a label comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Read from the file's own content.
    Measured,
    /// Taken over from the process that wrote the file, until it is measured.
    Inherited,
}

/// What is known of one file (or, as taint, of one process).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The resolution class.
    pub tier: Tier,
    /// Measured or inherited.
    pub origin: Origin,
    /// Paths of the masters it was made from, at most [`Label::MASTERS`]; never empty.
    pub masters: Vec<String>,
}

impl Label {
    /// How many masters one label names; a process that read more keeps the first ones.
    pub const MASTERS: usize = 8;

    /// The label of something made from both: the higher tier, the masters of both.
    #[must_use]
    pub fn join(mut self, other: &Label) -> Label {
        self.tier = self.tier.max(other.tier);
        if other.origin == Origin::Inherited {
            self.origin = Origin::Inherited;
        }
        for master in &other.masters {
            if self.masters.len() >= Label::MASTERS {
                break;
            }
            if !self.masters.contains(master) {
                self.masters.push(master.clone());
            }
        }
        self
    }
}

/// A USB device as its descriptor names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usb {
    /// Vendor id, four lower-case hexadecimal digits.
    pub vendor: String,
    /// Product id, four lower-case hexadecimal digits.
    pub product: String,
    /// Serial number, as the device gives it; empty where it gives none.
    pub serial: String,
}

/// The mount that a path lies on.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Mount {
    /// The mount point.
    pub point: PathBuf,
    /// File system type, as the kernel names it (`ext4`, `nfs4`, `fuse.sshfs`).
    pub kind: String,
    /// The source of a network file system (`nas1:/archive`, `//nas1/scans`).
    pub share: Option<String>,
    /// The USB device behind it.
    pub usb: Option<Usb>,
}

/// Where bytes can go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A path in the file tree.
    Path {
        /// The absolute path of the file written, or of the directory that receives it.
        path: PathBuf,
        /// The mount that it lies on, where that is known.
        mount: Option<Mount>,
    },
    /// A host and port on the network.
    Host {
        /// The name that was looked up, where that is known.
        name: Option<String>,
        /// The address, where that is known.
        address: Option<IpAddr>,
        /// The port.
        port: u16,
    },
}

impl Destination {
    /// The destination as people read it, safe to print: `host:port`, or the path with the share or USB
    /// disk that it lies on.
    #[must_use]
    pub fn target(&self) -> String {
        match self {
            Destination::Host { name, address, port } => match (name, address) {
                (Some(name), _) => format!("{}:{port}", printable(name.as_bytes())),
                (None, Some(IpAddr::V6(address))) => format!("[{address}]:{port}"),
                (None, Some(address)) => format!("{address}:{port}"),
                (None, None) => format!("an unknown host, port {port}"),
            },
            Destination::Path { path, mount } => {
                let text = printable(path.as_os_str().as_bytes());
                let on = match mount.as_ref().map(|mount| (&mount.share, &mount.usb)) {
                    Some((Some(share), _)) => printable(share.as_bytes()),
                    Some((None, Some(usb))) => format!("the USB disk {}", usb.text()),
                    _ => return text,
                };
                if text == "/" { on } else { format!("{text} on {on}") }
            }
        }
    }

    /// The line of a `[[destination]]` that would name it.
    pub(crate) fn key_for_policy(&self) -> String {
        match self {
            Destination::Host { .. } => format!("hosts = [\"{}\"]", self.target()),
            Destination::Path { path, mount } => match mount.as_ref().map(|mount| (&mount.share, &mount.usb)) {
                Some((Some(share), _)) => format!("shares = [\"{}\"]", printable(share.as_bytes())),
                Some((None, Some(usb))) => format!("usb = [{}]", usb.key_for_policy()),
                _ => match mount.as_ref().map(|mount| printable(mount.point.as_os_str().as_bytes())) {
                    Some(point) if point != "/" => format!("mounts = [\"{point}\"]"),
                    _ => format!("paths = [\"{}\"] (or a directory above it)", printable(path.as_os_str().as_bytes())),
                },
            },
        }
    }
}

impl Usb {
    fn text(&self) -> String {
        let serial = if self.serial.is_empty() { "" } else { " with serial " };
        format!("{}:{}{serial}{}", self.vendor, self.product, printable(self.serial.as_bytes()))
    }

    fn key_for_policy(&self) -> String {
        let serial = match self.serial.as_str() {
            "" => String::new(),
            serial => format!(", serial = \"{}\"", printable(serial.as_bytes())),
        };
        format!("{{ vendor = \"{}\", product = \"{}\"{serial} }}", self.vendor, self.product)
    }
}

/// The program that acts, as far as the policy knows it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Program {
    /// Name of the `[[program]]` entry whose executable it was proved to be (inode and digest).
    pub named: Option<String>,
    /// Path of the executable, for the explanation only.
    pub path: String,
}

/// Everything that a judgement may look at.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// Who acts.
    pub program: Program,
    /// What is attempted.
    pub attempt: Attempt,
}

/// What is attempted.
#[derive(Clone, Debug, PartialEq)]
pub enum Attempt {
    /// A master of the named collection is opened.
    Open {
        /// Name of the collection.
        collection: String,
        /// The master's label.
        label: Label,
    },
    /// Labelled data moves to a destination.
    Transfer {
        /// What moves.
        label: Label,
        /// Where to.
        destination: Destination,
        /// What is known of earlier transfers and of the user's word.
        history: History,
    },
}

/// The user's word for one file and destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Justification {
    /// By which its records are found; empty where it is a case and nobody gave it.
    pub id: String,
    /// The reason, as the user wrote it; of white space alone it is none.
    pub reason: String,
    /// Who approved it; none where nobody had to. Collectors that do not know the field refuse a record that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<String>,
}

impl Justification {
    /// A reason in a case (a `[[test]]`, or a question) that somebody has approved, or nobody.
    #[must_use]
    pub fn in_case(reason: &str, approved: bool) -> Box<Justification> {
        let approved_by = approved.then(|| "somebody else".to_owned());
        Box::new(Justification { approved_by, ..*Justification::of(reason) })
    }

    /// A reason that nobody has approved.
    #[must_use]
    pub fn of(reason: &str) -> Box<Justification> {
        Box::new(Justification { id: String::new(), reason: reason.to_owned(), approved_by: None })
    }
}

/// What is known of earlier transfers to the same destination, and of the user's word for this one.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct History {
    /// The reason that the user gave for this file and destination, while the time for which it holds is not over.
    pub justification: Option<Box<Justification>>,
    /// Distinct objects sent to the destination today, this one included.
    pub objects_today: Option<u32>,
    /// Share of the master's area sent there so far above the scale that is public ([`Policy::adds_up`]), this
    /// transfer included (0.0 to 1.0); of several masters that of the one that is furthest. None where this
    /// transfer adds nothing to it.
    ///
    /// [`Policy::adds_up`]: crate::Policy::adds_up
    pub coverage: Option<f64>,
}
