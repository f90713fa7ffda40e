//! What a policy looks at in a destination beside its name, so that a record can be judged again.

use std::ffi::OsString;
use std::net::IpAddr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{printable, unprintable};
use crate::facts::{self, Usb};

/// The facts of a destination that its target does not tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Place {
    /// In the file tree; the path is the target.
    Path {
        /// The mount that it lay on, where that was known.
        mount: Option<Mount>,
    },
    /// On the network.
    Host {
        /// The name that was looked up, where that was known; printable.
        name: Option<String>,
        /// The address, where that was known.
        address: Option<IpAddr>,
        /// The port.
        port: u16,
    },
}

/// A mount as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// The mount point, printable.
    pub point: String,
    /// File system type, as the kernel names it.
    pub file_system: String,
    /// The source of a network file system, printable.
    pub share: Option<String>,
    /// The USB device behind it.
    pub usb: Option<Usb>,
}

impl Place {
    /// What is put on record of a destination.
    #[must_use]
    pub fn of(destination: &facts::Destination) -> Place {
        match destination {
            facts::Destination::Path { mount, .. } => Place::Path {
                mount: mount.as_ref().map(|mount| Mount {
                    point: printable(mount.point.as_os_str().as_bytes()),
                    file_system: mount.kind.clone(),
                    share: mount.share.as_ref().map(|share| printable(share.as_bytes())),
                    usb: mount.usb.clone(),
                }),
            },
            facts::Destination::Host { name, address, port } => Place::Host {
                name: name.as_ref().map(|name| printable(name.as_bytes())),
                address: *address,
                port: *port,
            },
        }
    }

    /// The destination that was put on record with this target; none where one of its texts was never
    /// [`printable`]'s.
    #[must_use]
    pub fn destination(&self, target: &str) -> Option<facts::Destination> {
        Some(match self {
            Place::Path { mount } => {
                let mount = match mount {
                    Some(mount) => Some(mount.facts()?),
                    None => None,
                };
                facts::Destination::Path { path: path(target)?, mount }
            }
            Place::Host { name, address, port } => {
                facts::Destination::Host { name: text(name.as_deref())?, address: *address, port: *port }
            }
        })
    }
}

impl Mount {
    fn facts(&self) -> Option<facts::Mount> {
        Some(facts::Mount {
            point: path(&self.point)?,
            kind: self.file_system.clone(),
            share: text(self.share.as_deref())?,
            usb: self.usb.clone(),
        })
    }
}

/// The path whose printable form this is.
pub(crate) fn path(printed: &str) -> Option<PathBuf> {
    Some(OsString::from_vec(unprintable(printed)?).into())
}

fn text(printed: Option<&str>) -> Option<Option<String>> {
    match printed {
        Some(printed) => Some(Some(String::from_utf8(unprintable(printed)?).ok()?)),
        None => Some(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comes_back(destination: &facts::Destination, target: &str) {
        let place = Place::of(destination);
        let wire = serde_json::to_string(&place).unwrap();
        let read: Place = serde_json::from_str(&wire).unwrap();
        assert_eq!(read.destination(target).as_ref(), Some(destination));
    }

    #[test]
    fn a_destination_comes_back_from_the_record_as_it_was() {
        let name = b"/media/u/\xff\\x41\n\xe2\x80\xae.tif";
        let path: PathBuf = OsString::from_vec(name.to_vec()).into();
        let usb = Usb { vendor: "0951".into(), product: "1666".into(), serial: "60A\u{1b}".into() };
        let mount = facts::Mount {
            point: "/media/u\\".into(),
            kind: "vfat".into(),
            share: Some("//nas1/sc\tans".into()),
            usb: Some(usb),
        };
        comes_back(&facts::Destination::Path { path, mount: Some(mount) }, &printable(name));
        comes_back(&facts::Destination::Path { path: "/a".into(), mount: None }, "/a");
        let address = Some("2001:db8::1".parse().unwrap());
        comes_back(&facts::Destination::Host { name: Some("a.example".into()), address, port: 443 }, "a.example:443");
    }

    #[test]
    fn what_was_never_printed_so_is_no_destination() {
        let place = Place::Path { mount: None };
        for target in ["/a\\", "/a\\q", "/a\\x4", "/a\\xzz", "/a\\u{110000}", "/a\\u{41", "/a\nb", "/a\\u{}"] {
            assert_eq!(place.destination(target), None, "{target:?}");
        }
    }
}
