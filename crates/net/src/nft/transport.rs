//! Sending a batch to the kernel and reading its answer.

use std::io;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, setsockopt, socket,
    sockopt,
};

use super::encode::Batch;

/// Why a table could not be applied. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// No netfilter socket, or the kernel does not answer.
    #[error("cannot talk to netfilter: {0}")]
    Socket(#[from] io::Error),
    /// The kernel refused one of the messages.
    #[error("the kernel refused {subject}: {error}{}", advice(error))]
    Refused {
        /// What was refused.
        subject: String,
        /// Why.
        error: Errno,
    },
}

impl ApplyError {
    /// The kernel's reason, if it refused.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            ApplyError::Socket(_) => None,
            ApplyError::Refused { error, .. } => Some(*error),
        }
    }
}

fn advice(error: &Errno) -> &'static str {
    match error {
        Errno::EPERM => " (packet rules need CAP_NET_ADMIN in this network namespace)",
        Errno::ENOENT | Errno::EOPNOTSUPP => {
            " (does the kernel have nf_tables, nft_nat, nft_redir and nf_conntrack?)"
        }
        _ => "",
    }
}

const ERROR: u16 = 2;
const HEADER: usize = 16;

pub(super) fn send(batch: &Batch) -> Result<(), ApplyError> {
    let netlink =
        socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkNetFilter)
            .map_err(io::Error::from)?;
    if batch.bytes.len() > 100_000 {
        // A refusal shows as a failing send, which says more.
        let _ = setsockopt(&netlink, sockopt::SndBufForce, &(batch.bytes.len() * 2));
    }
    use std::os::fd::AsRawFd;
    let kernel = NetlinkAddr::new(0, 0);
    sendto(netlink.as_raw_fd(), &batch.bytes, &kernel, MsgFlags::empty()).map_err(io::Error::from)?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = recv(netlink.as_raw_fd(), &mut buffer, MsgFlags::empty()).map_err(io::Error::from)?;
        let answer = buffer.get(..length).unwrap_or_default();
        if read_answers(answer, batch)? {
            return Ok(());
        }
    }
}

/// Whether the last message was acknowledged, or the first refusal.
pub(super) fn read_answers(mut answer: &[u8], batch: &Batch) -> Result<bool, ApplyError> {
    while let Some(length) = number(answer, 0).filter(|length| *length as usize >= HEADER) {
        let message = answer.get(..length as usize).unwrap_or(answer);
        let kind = message.get(4..6).and_then(|bytes| Some(u16::from_ne_bytes(bytes.try_into().ok()?)));
        if let (Some(ERROR), Some(sequence), Some(code)) = (kind, number(message, 8), number(message, HEADER))
        {
            if code != 0 {
                let subject = batch.subjects.get(sequence as usize).cloned().unwrap_or_default();
                let error = Errno::from_raw((code as i32).wrapping_neg());
                return Err(ApplyError::Refused { subject, error });
            }
            if sequence == batch.last {
                return Ok(true);
            }
        }
        let padded = (length as usize).next_multiple_of(4);
        answer = answer.get(padded..).unwrap_or_default();
    }
    Ok(false)
}

fn number(bytes: &[u8], start: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(start..)?.first_chunk()?))
}
