//! Events of the kernel's side, from bytes to what they mean. Pure: nothing is looked up here.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv6Addr};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use super::kernel::Plain;
use super::record;
use crate::identify::FileId;

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Something that the policy refuses was attempted.
    Attempt,
    /// A file got its label from who wrote it.
    Written,
    /// A file without a label comes to a destination.
    Arriving,
    /// Somebody else touches what is the agent's.
    Touched(Touch),
}

/// How the agent is touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Touch {
    pub(super) by: Touching,
    /// Whether he may: the service manager ends the agent.
    pub(super) is_let: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Touching {
    /// A signal, by its number (signal(7)).
    Signal(u16),
    /// It is traced, or its memory looked into.
    LookInto,
    /// Its priority or its limits become others.
    Limit,
    /// The map or program of it is to be got hold of.
    Hold,
    /// A file is written.
    Write,
    /// A name is made, or taken away, or becomes another.
    Name,
    /// Attributes of a file are changed.
    Change,
    /// Something is mounted over a directory, or taken away from it.
    Mount,
}

/// How it was attempted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Open,
    Write,
    Rename,
    Link,
    Connect,
    Send,
}

/// Where the bytes would have gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A file, with its path below the root of its file system.
    File {
        file: FileId,
        path: PathBuf,
    },
    Host {
        address: IpAddr,
        port: u16,
    },
    /// A socket of a family without hosts (address_families(7)).
    Family(u16),
    /// A device, by its number.
    Device {
        device: u64,
        is_block: bool,
    },
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) kind: Kind,
    pub(super) way: Way,
    pub(super) target: Target,
    pub(super) denied: bool,
    pub(super) thread: i32,
    pub(super) process: i32,
    /// Nanoseconds after boot at which the process started.
    pub(super) started: u64,
    pub(super) user: u32,
    pub(super) session: u32,
    pub(super) parents: Vec<i32>,
    pub(super) rank: u8,
    pub(super) is_vault: bool,
    /// The masters that the process has read, the latest first.
    pub(super) masters: Vec<FileId>,
    pub(super) command: String,
    pub(super) executable: FileId,
    pub(super) executable_path: PathBuf,
}

/// The kernel's number of a device (`major << 20 | minor`) as stat(2) gives it.
pub(super) fn device_of(number: u64) -> u64 {
    let number = u32::try_from(number).unwrap_or(u32::MAX);
    libc::makedev(number >> 20, number & 0xf_ffff)
}

/// And back.
pub(super) fn number_of(device: u64) -> u64 {
    u64::from(libc::major(device)) << 20 | u64::from(libc::minor(device))
}

pub(super) fn file_of(key: record::key) -> FileId {
    FileId { device: device_of(key.space), inode: key.id }
}

/// Reads an event; none where it is not one (another version's).
pub(super) fn decode(bytes: &[u8]) -> Option<Told> {
    let event = record::event::read(bytes)?;
    let kind = match u32::from(event.kind) {
        record::event_kind::EVENT_ATTEMPT => Kind::Attempt,
        record::event_kind::EVENT_WRITTEN => Kind::Written,
        record::event_kind::EVENT_ARRIVING => Kind::Arriving,
        record::event_kind::EVENT_TOUCHED => Kind::Touched(touch(&event)),
        _ => return None,
    };
    let way = match u32::from(event.operation) {
        record::operation::OPERATION_RENAME => Way::Rename,
        record::operation::OPERATION_LINK => Way::Link,
        record::operation::OPERATION_CONNECT => Way::Connect,
        record::operation::OPERATION_SEND => Way::Send,
        record::operation::OPERATION_OPEN | record::operation::OPERATION_RECEIVE => Way::Open,
        _ => Way::Write,
    };
    let target = match u32::from(event.target_kind) {
        record::target_kind::TARGET_FILE => {
            Target::File { file: file_of(event.target), path: path_of(&event.target_text) }
        }
        record::target_kind::TARGET_HOST => {
            Target::Host { address: Ipv6Addr::from(event.address).to_canonical(), port: event.port }
        }
        record::target_kind::TARGET_SOCKET => Target::Family(event.family),
        record::target_kind::TARGET_DEVICE => {
            Target::Device { device: device_of(event.target.id), is_block: event.target.space & 1 == 1 }
        }
        _ => return None,
    };
    let signed = |number: u32| i32::try_from(number).unwrap_or_default();
    let masters = std::iter::once(event.label.master).chain(event.more).filter(|master| master.id != 0).map(file_of);
    let command =
        event.command.iter().map(|byte| byte.cast_unsigned()).take_while(|byte| *byte != 0).collect::<Vec<_>>();
    Some(Told {
        kind,
        way,
        target,
        denied: event.denied != 0,
        thread: signed(event.thread),
        process: signed(event.process),
        started: event.started,
        user: event.user,
        session: event.session,
        parents: event.parents.iter().copied().take_while(|parent| *parent != 0).map(signed).collect(),
        rank: event.label.rank,
        is_vault: event.label.vault != 0,
        masters: masters.collect(),
        command: vitrine_policy::record::printable(&command),
        executable: file_of(event.executable),
        executable_path: path_of(&event.program_text),
    })
}

fn touch(event: &record::event) -> Touch {
    let by = match u32::from(event.operation) {
        record::operation::OPERATION_SIGNAL => Touching::Signal(event.port),
        record::operation::OPERATION_LOOK_INTO => Touching::LookInto,
        record::operation::OPERATION_LIMIT => Touching::Limit,
        record::operation::OPERATION_HOLD => Touching::Hold,
        record::operation::OPERATION_WRITE => Touching::Write,
        record::operation::OPERATION_CHANGE => Touching::Change,
        record::operation::OPERATION_MOUNT => Touching::Mount,
        _ => Touching::Name,
    };
    Touch { by, is_let: event.ceiling != 0 }
}

/// Names from a file up to the root, each ended by a zero byte and all by one more, as a path.
fn path_of(text: &[std::ffi::c_char]) -> PathBuf {
    let bytes: Vec<u8> = text.iter().map(|byte| byte.cast_unsigned()).collect();
    let mut names: Vec<&[u8]> = bytes.split(|byte| *byte == 0).take_while(|name| !name.is_empty()).collect();
    names.reverse();
    let mut path = PathBuf::from("/");
    path.extend(names.into_iter().map(|name| OsString::from_vec(name.to_vec())));
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chars<const N: usize>(text: &[u8]) -> [std::ffi::c_char; N] {
        let mut chars = [0; N];
        for (to, from) in chars.iter_mut().zip(text) {
            *to = from.cast_signed();
        }
        chars
    }

    fn event() -> record::event {
        record::event {
            kind: 1,
            operation: 2,
            target_kind: 1,
            denied: 1,
            process: 7,
            thread: 8,
            label: record::label {
                rank: 3,
                master: record::key { space: 8 << 20 | 1, id: 11 },
                ..record::label::default()
            },
            target: record::key { space: 7 << 20, id: 12 },
            target_text: chars(b"scan.tif\0usb\0"),
            command: chars(b"cp"),
            ..record::event::default()
        }
    }

    #[test]
    fn a_file_has_the_path_that_its_names_make() {
        let told = decode(event().bytes()).expect("an event");
        let file = FileId { device: libc::makedev(7, 0), inode: 12 };
        assert_eq!(told.target, Target::File { file, path: "/usb/scan.tif".into() });
        assert_eq!(told.masters, [FileId { device: libc::makedev(8, 1), inode: 11 }]);
        assert_eq!((told.kind, told.way, told.denied), (Kind::Attempt, Way::Write, true));
        assert_eq!((told.rank, told.process, told.thread, told.command.as_str()), (3, 7, 8, "cp"));
    }

    #[test]
    fn mapped_addresses_are_told_as_what_they_are() {
        let mut event = event();
        event.target_kind = 2;
        event.address = "::ffff:198.51.100.20".parse::<Ipv6Addr>().expect("an address").octets();
        event.port = 22;
        let told = decode(event.bytes()).expect("an event");
        assert_eq!(told.target, Target::Host { address: "198.51.100.20".parse().expect("an address"), port: 22 });
    }

    #[test]
    fn a_touch_says_how_and_whether_it_was_let() {
        let mut event = record::event { kind: 4, operation: 10, port: 9, ceiling: 1, denied: 0, ..event() };
        let kind = |event: &record::event| decode(event.bytes()).expect("an event").kind;
        assert_eq!(kind(&event), Kind::Touched(Touch { by: Touching::Signal(9), is_let: true }));
        (event.operation, event.ceiling) = (13, 0);
        assert_eq!(kind(&event), Kind::Touched(Touch { by: Touching::Name, is_let: false }));
    }

    #[test]
    fn what_is_no_event_is_none() {
        assert_eq!(decode(&[]), None);
        assert_eq!(decode(&[1; 40]), None);
        let mut other = event();
        other.kind = 9;
        assert_eq!(decode(other.bytes()), None);
    }

    #[test]
    fn numbers_of_devices_survive_both_ways() {
        for device in [libc::makedev(8, 1), libc::makedev(0, 0x1_2345), libc::makedev(259, 1)] {
            assert_eq!(device_of(number_of(device)), device);
        }
    }
}
