//! The kernel's process connector (`drivers/connector/cn_proc.c`, `include/uapi/linux/cn_proc.h`): tells at
//! once which process started which program, so that one which lives for a millisecond is not missed.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// `CN_IDX_PROC` and `CN_VAL_PROC` of `include/uapi/linux/connector.h`.
const PROC: u32 = 1;
/// `PROC_CN_MCAST_LISTEN`.
const LISTEN: u32 = 1;
/// `PROC_EVENT_EXEC`.
const EXEC: u32 = 2;
/// Length of `struct nlmsghdr`, and of it with `struct cn_msg` behind it.
const NETLINK: usize = 16;
const HEADERS: usize = NETLINK + 20;

/// A subscription to the events of processes. It needs `CAP_NET_ADMIN`.
pub(crate) struct Connector(OwnedFd);

impl Connector {
    /// Subscribes.
    pub(crate) fn subscribe() -> io::Result<Connector> {
        let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC;
        // SAFETY: three integers go in, a new descriptor or -1 comes out.
        let fd = unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_CONNECTOR) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made and belongs to nobody else.
        let connector = Connector(unsafe { OwnedFd::from_raw_fd(fd) });
        // SAFETY: all-zero bytes are a valid `sockaddr_nl`.
        let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
        address.nl_family = libc::AF_NETLINK.unsigned_abs().try_into().unwrap_or_default();
        address.nl_groups = PROC;
        let size = size_of::<libc::sockaddr_nl>().try_into().unwrap_or_default();
        // SAFETY: the address is a structure of `size` bytes that outlives the call.
        if unsafe { libc::bind(fd, (&raw const address).cast(), size) } < 0 {
            return Err(io::Error::last_os_error());
        }
        let length = u32::try_from(HEADERS + 4).unwrap_or_default();
        let mut message = Vec::with_capacity(HEADERS + 4);
        message.extend(length.to_ne_bytes());
        message.extend(u16::try_from(libc::NLMSG_DONE).unwrap_or_default().to_ne_bytes());
        message.extend([0; 2 + 4 + 4]); // flags, sequence, sender
        message.extend([PROC.to_ne_bytes(), PROC.to_ne_bytes()].concat());
        message.extend([0; 4 + 4]); // sequence, acknowledgement
        message.extend(4_u16.to_ne_bytes());
        message.extend([0; 2]); // flags
        message.extend(LISTEN.to_ne_bytes());
        nix::sys::socket::send(fd, &message, nix::sys::socket::MsgFlags::empty())?;
        Ok(connector)
    }

    /// Waits for the next process that started a program; none for any other event.
    ///
    /// # Errors
    /// Reading failed; `ENOBUFS`: events were lost, and the next ones go on.
    pub(crate) fn next_program(&self) -> io::Result<Option<i32>> {
        let mut buffer = [0; 1024];
        let flags = nix::sys::socket::MsgFlags::empty();
        let length = nix::sys::socket::recv(self.0.as_raw_fd(), &mut buffer, flags)?;
        Ok(program(&buffer[..length]))
    }
}

/// The process of an exec event: `what`, `cpu`, `timestamp` (16 bytes), then its thread and its process.
fn program(message: &[u8]) -> Option<i32> {
    let event = message.get(HEADERS..)?;
    let word = |at: usize| event.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes);
    if word(0)? != EXEC {
        return None;
    }
    word(20).map(u32::cast_signed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_other_messages_are_no_program() {
        assert_eq!(program(&[]), None);
        assert_eq!(program(&[0; HEADERS + 24]), None);
        let mut exec = vec![0; HEADERS + 24];
        exec[HEADERS] = 2;
        exec[HEADERS + 20] = 77;
        assert_eq!(program(&exec), Some(77));
    }
}
