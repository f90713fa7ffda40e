//! What is mounted, and what lies behind it: proc_pid_mountinfo(5) and sysfs.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use vitrine_policy::facts::{Mount, Usb};

/// File systems whose bytes leave the workstation, as the kernel names their types.
const NETWORK: [&str; 17] = [
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "ceph",
    "afs",
    "ncpfs",
    "glusterfs",
    "lustre",
    "ocfs2",
    "gfs2",
    "davfs",
    "virtiofs",
    "vboxsf",
    "beegfs",
];

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mounted {
    pub(crate) mount: Mount,
    pub(crate) device: u64,
    /// The directory of the file system that is shown; `/` is all of it.
    pub(crate) root: PathBuf,
    pub(crate) read_only: bool,
    /// Whether bytes written to it may leave the workstation: a removable or USB disk, a network share, a
    /// loop device, a file system in user space, and a disk that is not known to belong here.
    pub(crate) external: bool,
    /// The disks below it, as directories of sysfs.
    disks: Vec<PathBuf>,
}

/// Everything mounted, in the order of mounting.
pub(crate) fn read() -> io::Result<Vec<Mounted>> {
    let mut mounts = parse(&fs::read("/proc/self/mountinfo")?);
    find_strangers(&mut mounts, &fs::read("/etc/fstab").unwrap_or_default());
    Ok(mounts)
}

/// Where file systems are mounted behind which a server or a daemon stands: one that is away lets wait who asks it.
pub(crate) fn servers() -> Vec<PathBuf> {
    let mounts = fs::read("/proc/self/mountinfo").map(|table| parse(&table)).unwrap_or_default();
    mounts.into_iter().filter(|mounted| mounted.mount.share.is_some()).map(|mounted| mounted.mount.point).collect()
}

/// A disk belongs here if the system lies on it, or if fstab(5) mounts it there. Behind some sockets disks can be
/// changed that do not call themselves removable.
fn find_strangers(mounts: &mut [Mounted], table: &[u8]) {
    let system = mounts.iter().rfind(|mounted| mounted.mount.point == Path::new("/"));
    let system = system.map(|mounted| mounted.disks.clone()).unwrap_or_default();
    if system.is_empty() {
        return;
    }
    let known: Vec<PathBuf> = table.split(|byte| *byte == b'\n').filter_map(point_of).collect();
    for mounted in mounts.iter_mut().filter(|mounted| !known.contains(&mounted.mount.point)) {
        mounted.external |= mounted.disks.iter().any(|disk| !system.contains(disk));
    }
}

/// Where a line of fstab(5) mounts.
fn point_of(line: &[u8]) -> Option<PathBuf> {
    let mut fields = line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
    let device = fields.next().filter(|device| !device.starts_with(b"#"));
    device.and(fields.next()).map(path_of)
}

fn path_of(field: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(unescape(field)))
}

fn parse(table: &[u8]) -> Vec<Mounted> {
    table.split(|byte| *byte == b'\n').filter_map(line).collect()
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`
fn line(line: &[u8]) -> Option<Mounted> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let dash = fields.iter().position(|field| *field == b"-")?;
    let (major, minor) = std::str::from_utf8(fields.get(2)?).ok()?.split_once(':')?;
    let (major, minor) = (major.parse().ok()?, minor.parse().ok()?);
    let kind = String::from_utf8_lossy(fields.get(dash + 1)?).into_owned();
    let source = String::from_utf8_lossy(&unescape(fields.get(dash + 2)?)).into_owned();
    let network = NETWORK.contains(&kind.as_str()) || kind == "fuse" || kind.starts_with("fuse.");
    // btrfs and others have a number of their own; the disk stands in the source.
    let disk = if major == 0 { device_of(Path::new(&source)) } else { Some((major, minor)) };
    let device = disk.and_then(|(major, minor)| device(major, minor));
    let read_only = fields.get(5)?.split(|byte| *byte == b',').any(|option| option == b"ro");
    Some(Mounted {
        external: network || device.as_ref().is_some_and(|device| device.external),
        mount: Mount {
            point: path_of(fields.get(4)?),
            share: network.then_some(source),
            usb: device.as_ref().and_then(|device| device.usb.clone()),
            kind,
        },
        device: libc::makedev(major, minor),
        root: path_of(fields.get(3)?),
        read_only,
        disks: device.map(|device| device.disks).unwrap_or_default(),
    })
}

/// Blanks, tabs, line ends and backslashes stand as three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, behind @ ..] = rest {
        let octal = behind.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                plain.push(byte);
                rest = &behind[3..];
            }
            None => {
                plain.push(*first);
                rest = behind;
            }
        }
    }
    plain
}

/// The number of a block device by its path.
fn device_of(path: &Path) -> Option<(u32, u32)> {
    if !path.starts_with("/dev") {
        return None;
    }
    let metadata = fs::metadata(path).ok()?;
    let number = std::os::unix::fs::MetadataExt::rdev(&metadata);
    Some((libc::major(number), libc::minor(number)))
}

/// What lies behind a block device.
struct Device {
    external: bool,
    usb: Option<Usb>,
    disks: Vec<PathBuf>,
}

/// Follows a block device to the disks below it (partitions, device mapper); none for no block device.
fn device(major: u32, minor: u32) -> Option<Device> {
    let path = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    Some(disk(&path, 0))
}

fn disk(path: &Path, depth: u8) -> Device {
    let below = fs::read_dir(path.join("slaves")).into_iter().flatten().flatten();
    if depth < 8 {
        let below: Vec<_> = below.filter_map(|entry| fs::canonicalize(entry.path()).ok()).collect();
        if !below.is_empty() {
            let below: Vec<_> = below.iter().map(|path| disk(path, depth + 1)).collect();
            return Device {
                external: below.iter().any(|disk| disk.external),
                usb: below.iter().find_map(|disk| disk.usb.clone()),
                disks: below.into_iter().flat_map(|disk| disk.disks).collect(),
            };
        }
    }
    let whole = if path.join("partition").exists() { path.parent().unwrap_or(path) } else { path };
    let removable = fs::read(whole.join("removable")).is_ok_and(|text| text.starts_with(b"1"));
    let name = whole.file_name().unwrap_or_default().as_bytes();
    let usb = whole.ancestors().find_map(usb);
    let card = fs::read(whole.join("device/type")).is_ok_and(|text| text.starts_with(b"SD"));
    Device {
        external: removable || card || usb.is_some() || name.starts_with(b"loop") || name.starts_with(b"nbd"),
        usb,
        disks: vec![whole.to_owned()],
    }
}

fn usb(directory: &Path) -> Option<Usb> {
    let read = |name: &str| fs::read_to_string(directory.join(name)).ok().map(|text| text.trim().to_owned());
    Some(Usb {
        vendor: read("idVendor")?.to_lowercase(),
        product: read("idProduct")?.to_lowercase(),
        serial: read("serial").unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_blanks_and_network_sources_are_read() {
        let table = b"90 25 0:55 / /mnt/my\\040share rw,nosuid shared:1 - cifs //nas1/scans\\134x rw\nrubbish\n\
            91 25 0:56 / /mnt/ro ro - fuse.sshfs host:/x ro\n92 25 0:57 / /dev/shm rw - tmpfs tmpfs rw\n";
        let mounts = parse(table);
        assert_eq!(mounts.len(), 3);
        assert_eq!(mounts[0].mount.point, Path::new("/mnt/my share"));
        assert_eq!(mounts[0].mount.share.as_deref(), Some("//nas1/scans\\x"));
        assert!(mounts[0].external && !mounts[0].read_only);
        assert!(mounts[1].read_only && mounts[1].external);
        assert!(!mounts[2].external);
    }

    #[test]
    fn a_disk_that_the_system_does_not_lie_on_is_a_stranger_unless_fstab_mounts_it() {
        let at = |point: &str, disks: &[&str]| Mounted {
            mount: Mount { point: point.into(), kind: "ext4".into(), ..Mount::default() },
            device: 0,
            root: "/".into(),
            read_only: false,
            external: false,
            disks: disks.iter().map(PathBuf::from).collect(),
        };
        let table =
            b"# device point\nUUID=1 / ext4 defaults 0 1\n/dev/sdb1\t/mnt/my\\040scans ext4\n#/dev/sdd /mnt/no ext4\n";
        let mut mounts = [
            at("/", &["sda", "sdc"]),
            at("/home", &["sdc"]),
            at("/mnt/my scans", &["sdb"]),
            at("/mnt/no", &["sdd"]),
            at("/mnt/raid", &["sda", "sde"]),
            at("/run", &[]),
        ];
        find_strangers(&mut mounts, table);
        let strangers: Vec<bool> = mounts.iter().map(|mounted| mounted.external).collect();
        assert_eq!(strangers, [false, false, false, true, true, false]);
        mounts[0].disks.clear();
        mounts[3].external = false;
        find_strangers(&mut mounts, table);
        assert!(!mounts[3].external, "where the system lies is not known");
    }

    #[test]
    fn this_machine_has_a_root() {
        assert!(read().expect("mountinfo").iter().any(|mounted| mounted.mount.point == Path::new("/")));
    }
}
