//! Reads the kernel's lists of TCP sockets, `/proc/net/tcp` and `/proc/net/tcp6`.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// The state of a socket that listens. Source: `TCP_LISTEN` in Linux' `tcp_states.h`.
const LISTEN: &str = "0A";

/// The addresses that are listened on. Lines that are no such socket are left out.
pub fn listening(text: &str) -> Vec<SocketAddr> {
    text.lines()
        .filter_map(|line| {
            // `sl local_address rem_address st …`
            let mut fields = line.split_whitespace().skip(1);
            let (local, _, state) = (fields.next()?, fields.next()?, fields.next()?);
            (state == LISTEN).then(|| address(local)).flatten()
        })
        .collect()
}

/// Reads `0100007F:1F90`: the address as words of the machine's memory, the port as a number.
fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let words: Vec<[u8; 4]> = (0..address.len())
        .step_by(8)
        // Every machine that pods run on today keeps its words with the lowest byte first.
        .map(|at| u32::from_str_radix(address.get(at..at + 8)?, 16).ok().map(u32::to_le_bytes))
        .collect::<Option<_>>()?;
    match words.as_slice() {
        [word] => Some(SocketAddr::new(Ipv4Addr::from(*word).into(), port)),
        [a, b, c, d] => {
            let bytes: [u8; 16] = [*a, *b, *c, *d].concat().try_into().ok()?;
            Some(SocketAddr::new(Ipv6Addr::from(bytes).into(), port))
        }
        _ => None,
    }
}

#[cfg(test)]
#[path = "sockets_tests.rs"]
mod tests;
