//! The address that every pod asks, on the node's loopback interface.
//!
//! Added by one message to the kernel (rtnetlink's RTM_NEWADDR), so that no program has to be there
//! that does it. It is taken away at the end only if it was added here.

use rustix::{
    fd::OwnedFd,
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink::SocketAddrNetlink,
        recv, sendto, socket_with,
    },
};
use std::{fs, io, net::Ipv4Addr};

const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
/// The address is for this machine alone.
const RT_SCOPE_HOST: u8 = 254;

/// An address that was added and goes with this value.
#[derive(Debug)]
pub(crate) struct Added {
    address: Ipv4Addr,
}

/// Adds the address to the loopback interface. `None` if it is on this machine already.
pub(crate) fn add(address: Ipv4Addr) -> io::Result<Option<Added>> {
    let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
    match ask(&message(RTM_NEWADDR, flags, address, loopback()?)) {
        Ok(()) => Ok(Some(Added { address })),
        Err(Errno::EXIST) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

impl Drop for Added {
    fn drop(&mut self) {
        let flags = NLM_F_REQUEST | NLM_F_ACK;
        if let Ok(index) = loopback() {
            // Whoever has taken it away before has done what was to be done.
            let _ = ask(&message(RTM_DELADDR, flags, self.address, index));
        }
    }
}

/// The number of the interface `lo`.
fn loopback() -> io::Result<u32> {
    let text = fs::read_to_string("/sys/class/net/lo/ifindex")?;
    text.trim().parse().map_err(|_| io::Error::other("`lo` has no number"))
}

/// `struct nlmsghdr`, `struct ifaddrmsg` and two attributes, in the byte order of the machine.
fn message(kind: u16, flags: u16, address: Ipv4Addr, index: u32) -> Vec<u8> {
    let mut body = vec![2, 32, 0, RT_SCOPE_HOST];
    body.extend(index.to_ne_bytes());
    for attribute in [IFA_LOCAL, IFA_ADDRESS] {
        body.extend(8_u16.to_ne_bytes());
        body.extend(attribute.to_ne_bytes());
        body.extend(address.octets());
    }
    let mut message = Vec::with_capacity(16 + body.len());
    message.extend((16 + body.len() as u32).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    // A sequence number of one, and the kernel finds out who we are.
    message.extend(1_u32.to_ne_bytes());
    message.extend(0_u32.to_ne_bytes());
    message.extend(body);
    message
}

/// Sends a message to the kernel and reads its verdict.
fn ask(message: &[u8]) -> Result<(), Errno> {
    let socket: OwnedFd =
        socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    sendto(&socket, message, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut answer = [0_u8; 4096];
    let (_, length) = recv(&socket, &mut answer[..], RecvFlags::empty())?;
    verdict(answer.get(..length).unwrap_or_default())
}

/// `struct nlmsgerr` has the negative error number after the header, zero if all is well.
fn verdict(answer: &[u8]) -> Result<(), Errno> {
    let kind = answer.get(4..6).and_then(|it| it.try_into().ok()).map(u16::from_ne_bytes);
    let code = answer.get(16..20).and_then(|it| it.try_into().ok()).map(i32::from_ne_bytes);
    match (kind, code) {
        (Some(NLMSG_ERROR), Some(0)) => Ok(()),
        // Numbers beyond these are none of the kernel's.
        (Some(NLMSG_ERROR), Some(code @ -4095..0)) => Err(Errno::from_raw_os_error(-code)),
        _ => Err(Errno::BADMSG),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_told_in_its_own_form() {
        let message = message(RTM_NEWADDR, 0x605, Ipv4Addr::new(169, 254, 169, 254), 1);
        assert_eq!(message.len(), 40);
        assert_eq!(message[..4], 40_u32.to_ne_bytes());
        assert_eq!(message[16..20], [2, 32, 0, 254]);
        assert_eq!(message[28..32], [169, 254, 169, 254]);
    }

    #[test]
    fn the_kernels_verdict_is_understood() {
        let answer = |code: i32| {
            let mut answer = vec![0; 20];
            answer[4..6].copy_from_slice(&NLMSG_ERROR.to_ne_bytes());
            answer[16..20].copy_from_slice(&code.to_ne_bytes());
            answer
        };
        assert_eq!(verdict(&answer(0)), Ok(()));
        assert_eq!(verdict(&answer(-17)), Err(Errno::EXIST));
        assert_eq!(verdict(&answer(i32::MIN)), Err(Errno::BADMSG));
        assert_eq!(verdict(&answer(1)), Err(Errno::BADMSG));
        assert_eq!(verdict(&[]), Err(Errno::BADMSG));
    }
}
