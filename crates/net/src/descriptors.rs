//! Messages with open descriptors between two processes: a pair of sequenced-packet Unix sockets
//! and `SCM_RIGHTS`. A packet arrives whole or not at all, with the descriptor sent along.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg,
    setsockopt, socketpair, sockopt,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The largest packet; a DNS message in JSON and base64 fits with room to spare.
const LARGEST_PACKET: usize = 160 * 1024;

/// One end of the pair. Clones of it may send and receive from several tasks.
#[derive(Debug)]
pub struct Channel {
    socket: AsyncFd<OwnedFd>,
}

/// Two connected ends, not yet registered with a runtime; either may be given to a child process.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let ends = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
    for end in [&ends.0, &ends.1] {
        setsockopt(end, sockopt::SndBuf, &(2 * LARGEST_PACKET))?;
    }
    Ok(ends)
}

impl Channel {
    /// Registers one end with the current runtime.
    pub fn new(end: OwnedFd) -> io::Result<Self> {
        nix::fcntl::fcntl(&end, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK))?;
        // SAFETY: an `OwnedFd` returns the same descriptor for as long as it lives, and it lives
        // inside the registration.
        Ok(Self { socket: unsafe { AsyncFd::register(end) }? })
    }

    /// Sends one packet, with a descriptor if given. The other end gets a copy of the descriptor.
    pub async fn send(&self, packet: &[u8], descriptor: Option<&(impl AsFd + Sync)>) -> io::Result<()> {
        if packet.len() > LARGEST_PACKET {
            let error = format!("a packet of {} bytes; at most {LARGEST_PACKET} fit", packet.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, error));
        }
        let raw = descriptor.map(|descriptor| [descriptor.as_fd().as_raw_fd()]);
        let rights = raw.as_ref().map(|raw| ControlMessage::ScmRights(raw));
        let control: &[ControlMessage<'_>] = rights.as_slice();
        self.socket
            .async_io(Interest::WRITABLE, |socket| {
                let parts = [IoSlice::new(packet)];
                Ok(sendmsg::<()>(socket.as_raw_fd(), &parts, control, MsgFlags::MSG_NOSIGNAL, None)?)
            })
            .await?;
        Ok(())
    }

    /// Receives one packet and the descriptor that came with it; `None` when the other end is gone.
    pub async fn receive(&self) -> io::Result<Option<(Vec<u8>, Option<OwnedFd>)>> {
        let mut buffer = vec![0; LARGEST_PACKET];
        let received =
            self.socket.async_io(Interest::READABLE, |socket| receive_packet(socket, &mut buffer)).await;
        match received {
            Ok((0, None)) => Ok(None),
            Ok((length, descriptor)) => {
                buffer.truncate(length);
                Ok(Some((buffer, descriptor)))
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn receive_packet(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut parts = [IoSliceMut::new(buffer)];
    let mut control = nix::cmsg_space!([std::os::fd::RawFd; 1]);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
    let mut descriptor = None;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(received) = control {
            for raw in received {
                // SAFETY: the kernel has just installed this descriptor in our table for this
                // message; nothing else knows it, so we are its only owner.
                descriptor = Some(unsafe { OwnedFd::from_raw_fd(raw) });
            }
        }
    }
    Ok((message.bytes, descriptor))
}

#[cfg(test)]
#[path = "descriptors_tests.rs"]
mod tests;
