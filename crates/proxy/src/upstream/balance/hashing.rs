//! Consistent hashing: the ring and Maglev's table.

use std::net::IpAddr;

/// A hash that is the same in every process and release: FNV-1a with a final mix, since FNV alone
/// spreads short keys badly over the high bits.
pub fn stable_hash(bytes: &[u8]) -> u64 {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    mix(hash)
}

/// The hash of a client's address, the same however the address is written.
pub fn source_hash(address: IpAddr) -> u64 {
    stable_hash(address.to_canonical().to_string().as_bytes())
}

/// The finaliser of SplitMix64.
fn mix(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

/// Places on a ring, in the order of their hashes, for members given by key and weight. The member
/// with the smallest weight gets as many as make the ring at least `minimum` long; none grows it
/// over `maximum`.
pub(super) fn ring(
    members: impl Iterator<Item = (String, u64)> + Clone,
    minimum: u64,
    maximum: u64,
) -> Box<[(u64, u32)]> {
    let total: u64 = members.clone().map(|(_, weight)| weight).sum::<u64>().max(1);
    let smallest = members.clone().map(|(_, weight)| weight).min().unwrap_or(1).max(1);
    // As in Envoy: scaled so that the smallest share gives a whole number of places.
    let share = smallest as f64 / total as f64;
    let length = ((share * minimum as f64).ceil() / share).min(maximum as f64).max(1.0);
    let mut places = Vec::with_capacity(length as usize);
    for (index, (key, weight)) in members.enumerate() {
        let count = (length * weight as f64 / total as f64).round().max(1.0) as u64;
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        places.extend((0..count).map(|number| (stable_hash(format!("{key}_{number}").as_bytes()), index)));
    }
    places.sort_unstable();
    places.into_boxed_slice()
}

/// Maglev's table (NSDI 2016, section 3.4) of `size` places for members given by key and weight.
pub(super) fn maglev(members: &[(String, u64)], size: u64) -> Box<[u32]> {
    const FREE: u32 = u32::MAX;
    let length = usize::try_from(size).unwrap_or(65_537).max(1);
    let size = length as u64;
    if members.is_empty() {
        return Box::default();
    }
    let heaviest = members.iter().map(|(_, weight)| *weight).max().unwrap_or(1).max(1);
    struct Builder {
        offset: u64,
        skip: u64,
        next: u64,
        target: f64,
        weight: f64,
    }
    let mut builders: Vec<Builder> = members
        .iter()
        .map(|(key, weight)| {
            let hash = stable_hash(key.as_bytes());
            let skip = if size > 1 { mix(hash ^ 0x5851_f42d_4c95_7f2d) % (size - 1) + 1 } else { 1 };
            let weight = *weight as f64 / heaviest as f64;
            Builder { offset: hash % size, skip, next: 0, target: 0.0, weight }
        })
        .collect();
    let mut table = vec![FREE; length];
    let mut filled = 0;
    let mut round = 1.0;
    while filled < length {
        for (index, builder) in builders.iter_mut().enumerate() {
            // A lighter member takes its turn less often.
            if round * builder.weight < builder.target {
                continue;
            }
            builder.target += 1.0;
            loop {
                let place = (builder.offset + builder.skip * (builder.next % size)) % size;
                builder.next += 1;
                let Some(entry) = table.get_mut(usize::try_from(place).unwrap_or_default()) else { break };
                if *entry == FREE {
                    *entry = u32::try_from(index).unwrap_or(FREE - 1);
                    filled += 1;
                    break;
                }
                // A size that is no multiple of the skip visits every place; one that is would not.
                if builder.next > size * 2 {
                    if let Some(entry) = table.iter_mut().find(|entry| **entry == FREE) {
                        *entry = u32::try_from(index).unwrap_or(FREE - 1);
                        filled += 1;
                    }
                    break;
                }
            }
            if filled == length {
                break;
            }
        }
        round += 1.0;
    }
    table.into_boxed_slice()
}
