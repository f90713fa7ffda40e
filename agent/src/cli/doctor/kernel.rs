//! What the kernel offers, and whether any guard can run.

use std::fs;
use std::io;
use std::path::Path;

use nix::unistd::Uid;

use super::{Check, fail, pass, warn};
use crate::config::GuardChoice;
use crate::guard::flow;
use crate::sys::fanotify::Group;

/// Position of CAP_SYS_ADMIN in the sets of capabilities(7).
const CAP_SYS_ADMIN: u32 = 21;
/// Where the kernel shows its types, by which BPF programs find their way through its data.
const BTF: &str = "/sys/kernel/btf/vmlinux";

/// All checks of the kernel, and whether any guard can run.
pub(super) fn checks(wanted: GuardChoice) -> (Vec<Check>, bool) {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let list = fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    let gate = Group::permission().map(|(_, before_reads)| before_reads);
    let watches = fs::read_to_string("/proc/sys/fs/inotify/max_user_watches").unwrap_or_default();
    let can_run = gate.is_ok() || watches.trim().parse().is_ok_and(|watches: u64| watches > 0);
    let before_reads = *gate.as_ref().unwrap_or(&false);
    let checks = vec![
        kernel(release.trim()),
        privileges(),
        fanotify(gate, wanted),
        pre_access(before_reads),
        btf(Path::new(BTF), wanted),
        lsm(list.trim(), flow::probe(), wanted, Path::new("/usr/sbin/grubby").exists()),
    ];
    (checks, can_run)
}

fn kernel(release: &str) -> Check {
    match version(release) {
        // FAN_REPORT_DFID_NAME (fanotify_init(2)).
        Some(version) if version >= (5, 9) => {
            pass("kernel", format!("Linux {release}: renames are reported with their names"))
        }
        Some(_) => warn(
            "kernel",
            format!(
                "Linux {release}: too old to report renames with their names; they are found by watching directories"
            ),
            "install Linux 5.9 or later (Debian 12 has 6.1: apt full-upgrade)",
        ),
        None => warn(
            "kernel",
            format!("the version `{release}` is not understood"),
            "uname -r should begin with two numbers",
        ),
    }
}

/// The first two numbers of a kernel's release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn privileges() -> Check {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let capabilities = capabilities.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(0);
    if capabilities & (1 << CAP_SYS_ADMIN) != 0 {
        return pass("privileges", "CAP_SYS_ADMIN is there: file accesses can be answered");
    }
    warn(
        "privileges",
        format!(
            "user {} has no CAP_SYS_ADMIN: only the guard `watch` can run, which refuses nothing",
            Uid::effective()
        ),
        "sudo vitrine doctor",
    )
}

/// Permission events, and whether there are some before each read.
fn fanotify(gate: io::Result<bool>, wanted: GuardChoice) -> Check {
    let name = "fanotify";
    let Err(error) = gate else {
        return pass(
            name,
            "the kernel asks before a file is opened: copies are refused before the first byte (guard `gate`)",
        );
    };
    let check = if wanted == GuardChoice::Gate { fail } else { warn };
    check(
        name,
        format!(
            "the kernel does not let this process answer file accesses ({error}): copies are reported and taken back, not refused (guard `watch`)"
        ),
        "sudo vitrine run, on a kernel with CONFIG_FANOTIFY_ACCESS_PERMISSIONS=y (grep FANOTIFY /boot/config-$(uname -r))"
            .to_owned(),
    )
}

fn pre_access(before_reads: bool) -> Check {
    if before_reads {
        return pass(
            "FAN_PRE_ACCESS",
            "the kernel asks before each read and write too, on file systems that support it",
        );
    }
    warn(
        "FAN_PRE_ACCESS",
        "not asked before each read and write: copies are judged when files are opened and closed",
        "run as root on Linux 6.14 or later (Debian 12: apt install -t bookworm-backports linux-image-amd64)",
    )
}

fn btf(types: &Path, wanted: GuardChoice) -> Check {
    let name = "BTF";
    if types.exists() {
        return pass(name, "the kernel shows its types: the programs of the guard `flow` find their way in it");
    }
    let check = if wanted == GuardChoice::Flow { fail } else { warn };
    check(
        name,
        format!("{} is missing: the guard `flow` cannot be loaded, and nothing is followed in the kernel", types.display()),
        "install a kernel with CONFIG_DEBUG_INFO_BTF=y (Debian: sudo apt install linux-image-amd64; grep BTF /boot/config-$(uname -r))".to_owned(),
    )
}

/// Whether the guard in the kernel can run: the programs are loaded, and the list of modules tells whether they
/// would be asked.
fn lsm(list: &str, probed: io::Result<()>, wanted: GuardChoice, has_grubby: bool) -> Check {
    let name = "BPF LSM";
    let check = if wanted == GuardChoice::Flow { fail } else { warn };
    let is_listed = list.is_empty() || list.split(',').any(|module| module == "bpf");
    match probed {
        Ok(()) if is_listed => {
            pass(name, "the kernel takes the programs that refuse the first byte (guard `flow`)")
        }
        Ok(()) => check(
            name,
            format!("the kernel takes the programs of the guard `flow` and would not ask them, because `bpf` is not among its security modules ({list}): the guard `gate` does without"),
            boot_with(&format!("{list},bpf"), has_grubby),
        ),
        Err(error) => check(
            name,
            format!("no guard in the kernel ({error}): the guard `gate` does without"),
            "sudo vitrine doctor, on a kernel with CONFIG_BPF_LSM=y and CONFIG_DEBUG_INFO_BTF=y (Debian 12's have both)".to_owned(),
        ),
    }
}

/// The command that puts a list of security modules on the kernel's command line: a drop-in of GRUB as Debian and its
/// kin read it, or grubby(8) where the distribution has that.
fn boot_with(list: &str, has_grubby: bool) -> String {
    if has_grubby {
        return format!("sudo grubby --update-kernel=ALL --args='lsm={list}' && sudo reboot");
    }
    format!(
        "echo 'GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX lsm={list}\"' | sudo tee /etc/default/grub.d/60-vitrine.cfg \
         && sudo update-grub && sudo reboot"
    )
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn a_release_has_a_version() {
        assert_eq!(version("6.1.0-28-amd64"), Some((6, 1)));
        assert_eq!(version("unknown"), None);
        assert_eq!(
            [kernel("6.1.0"), kernel("5.4.0"), kernel("?")].map(|check| check.state),
            [State::Pass, State::Warn, State::Warn]
        );
    }

    #[test]
    fn without_permission_events_nothing_is_refused() {
        let refused = || Err(io::Error::from_raw_os_error(libc::EPERM));
        assert_eq!(fanotify(Ok(false), GuardChoice::Gate).state, State::Pass);
        assert_eq!(fanotify(refused(), GuardChoice::Auto).state, State::Warn);
        let check = fanotify(refused(), GuardChoice::Gate);
        assert!(check.state == State::Fail && check.mend.unwrap().contains("CONFIG_FANOTIFY_ACCESS_PERMISSIONS"));
        assert_eq!([pre_access(true).state, pre_access(false).state], [State::Pass, State::Warn]);
    }

    #[test]
    fn without_types_the_guard_in_the_kernel_is_missing() {
        assert_eq!(btf(Path::new("/proc/self/status"), GuardChoice::Flow).state, State::Pass);
        assert_eq!(btf(Path::new("/nowhere"), GuardChoice::Auto).state, State::Warn);
        let check = btf(Path::new("/nowhere"), GuardChoice::Flow);
        assert!(check.state == State::Fail && check.mend.unwrap().contains("CONFIG_DEBUG_INFO_BTF=y"));
    }

    #[test]
    fn a_list_without_bpf_is_mended_by_a_drop_in_that_a_shell_understands() {
        let told = |list: &str, grubby| lsm(list, Ok(()), GuardChoice::Auto, grubby);
        assert_eq!([told("lockdown,bpf", false).state, told("", false).state], [State::Pass; 2]);
        let check = told("lockdown,apparmor", false);
        let mend = check.mend.unwrap();
        assert_eq!(check.state, State::Warn);
        let lab = tempfile::tempdir().unwrap();
        let written = lab.path().join("60-vitrine.cfg");
        let line = mend.split(" | ").next().unwrap();
        let script = format!(
            "{line} > '{0}' && GRUB_CMDLINE_LINUX=quiet && . '{0}' && echo \"$GRUB_CMDLINE_LINUX\"",
            written.display()
        );
        let shell = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&shell.stdout), "quiet lsm=lockdown,apparmor,bpf\n");
        assert!(mend.contains("sudo tee /etc/default/grub.d/60-vitrine.cfg && sudo update-grub"));
        assert!(
            told("selinux", true).mend.unwrap().starts_with("sudo grubby --update-kernel=ALL --args='lsm=selinux,bpf'")
        );
        let refused = lsm("bpf", Err(io::Error::other("no")), GuardChoice::Flow, false);
        assert!(refused.state == State::Fail && refused.mend.unwrap().contains("CONFIG_BPF_LSM=y"));
    }
}
