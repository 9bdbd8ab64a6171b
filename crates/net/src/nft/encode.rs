//! Tables as netlink messages.
//!
//! Headers are in the machine's byte order, attribute payloads in network order, values that are
//! compared or loaded as they stand in the packet or register.

use super::rule::{Expression, PORT, Rule, VALUE, Verdict};
use super::{Chain, ChainKind, Family, HookPoint, Table};

const NEW_TABLE: u16 = 0;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const NEW_RULE: u16 = 6;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const SUBSYSTEM: u16 = 10;

const FLAG_REQUEST: u16 = 0x1;
const FLAG_ACK: u16 = 0x4;
const FLAG_CREATE: u16 = 0x400;
const FLAG_APPEND: u16 = 0x800;
const NESTED: u16 = 0x8000;

const MESSAGE_HEADER: usize = 16;
/// Where the flags are in a message header.
const FLAGS_OFFSET: usize = 6;

/// Messages to be sent at once, and the sequence number whose acknowledgement means that all
/// of them took effect.
#[derive(Debug)]
pub(super) struct Batch {
    pub bytes: Vec<u8>,
    pub last: u32,
    /// What each message is about, by sequence number, for error messages.
    pub subjects: Vec<String>,
}

/// Deletes the table if there is one and creates it anew.
pub(super) fn replace(table: &Table) -> Batch {
    let mut writer = Writer::begin();
    writer.remove_table(table.family, &table.name);
    writer.table(table.family, &table.name);
    for chain in &table.chains {
        writer.chain(table, chain);
    }
    for chain in &table.chains {
        for (index, rule) in chain.rules.iter().enumerate() {
            writer.rule(table, chain, index, rule);
        }
    }
    writer.end()
}

/// Deletes the table if there is one.
pub(super) fn delete(family: Family, name: &str) -> Batch {
    let mut writer = Writer::begin();
    writer.remove_table(family, name);
    writer.end()
}

struct Writer {
    bytes: Vec<u8>,
    subjects: Vec<String>,
    last_start: usize,
}

impl Writer {
    fn begin() -> Self {
        let mut writer = Self { bytes: Vec::new(), subjects: Vec::new(), last_start: 0 };
        writer.control(BATCH_BEGIN);
        writer
    }

    fn end(mut self) -> Batch {
        // Errors are always reported; success only where it is asked for.
        if let Some(flags) = self.bytes.get_mut(self.last_start + FLAGS_OFFSET) {
            *flags |= FLAG_ACK as u8;
        }
        let last = (self.subjects.len() - 1) as u32;
        self.control(BATCH_END);
        Batch { bytes: self.bytes, last, subjects: self.subjects }
    }

    /// Creating first makes the deletion succeed whether or not the table was there.
    fn remove_table(&mut self, family: Family, name: &str) {
        self.table(family, name);
        self.message(DELETE_TABLE, family, 0, format!("delete table {name}"), |body| body.string(1, name));
    }

    fn table(&mut self, family: Family, name: &str) {
        self.message(NEW_TABLE, family, FLAG_CREATE, format!("table {name}"), |body| {
            body.string(1, name);
            body.number(2, 0);
        });
    }

    fn chain(&mut self, table: &Table, chain: &Chain) {
        let subject = format!("chain {} of table {}", chain.name, table.name);
        self.message(NEW_CHAIN, table.family, FLAG_CREATE, subject, |body| {
            body.string(1, &table.name);
            body.string(3, &chain.name);
            let Some(hook) = chain.hook else { return };
            body.nested(4, |body| {
                body.number(1, hook_number(hook.point));
                body.number(2, hook.priority as u32);
            });
            const ACCEPT: u32 = 1;
            body.number(5, ACCEPT);
            body.string(7, chain_type(hook.kind));
        });
    }

    fn rule(&mut self, table: &Table, chain: &Chain, index: usize, rule: &Rule) {
        let subject = format!("rule {} of chain {} of table {}", index + 1, chain.name, table.name);
        self.message(NEW_RULE, table.family, FLAG_CREATE | FLAG_APPEND, subject, |body| {
            body.string(1, &table.name);
            body.string(2, &chain.name);
            body.nested(4, |body| {
                for expression in &rule.expressions {
                    body.nested(1, |body| body.expression(expression));
                }
            });
        });
    }

    /// The messages around the batch: they carry the subsystem where others carry nothing.
    fn control(&mut self, kind: u16) {
        self.raw_message(kind, 0, 0, SUBSYSTEM, "the batch".to_owned(), |_| {});
    }

    fn message(
        &mut self,
        kind: u16,
        family: Family,
        flags: u16,
        subject: String,
        write: impl FnOnce(&mut Body<'_>),
    ) {
        self.raw_message((SUBSYSTEM << 8) | kind, family_number(family), flags, 0, subject, write);
    }

    fn raw_message(
        &mut self,
        kind: u16,
        family: u8,
        flags: u16,
        resource: u16,
        subject: String,
        write: impl FnOnce(&mut Body<'_>),
    ) {
        let start = self.bytes.len();
        let sequence = self.subjects.len() as u32;
        self.bytes.extend([0; 4]);
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend((FLAG_REQUEST | flags).to_ne_bytes());
        self.bytes.extend(sequence.to_ne_bytes());
        self.bytes.extend([0; 4]);
        self.bytes.extend([family, 0]);
        self.bytes.extend(resource.to_be_bytes());
        write(&mut Body { bytes: &mut self.bytes });
        let length = (self.bytes.len() - start) as u32;
        debug_assert!(length as usize >= MESSAGE_HEADER);
        overwrite(&mut self.bytes, start, &length.to_ne_bytes());
        self.subjects.push(subject);
        if kind != BATCH_END {
            self.last_start = start;
        }
    }
}

fn overwrite(bytes: &mut [u8], start: usize, value: &[u8]) {
    for (target, byte) in bytes.iter_mut().skip(start).zip(value) {
        *target = *byte;
    }
}

/// Attributes of a message: length and type, payload, padding to four bytes.
struct Body<'w> {
    bytes: &'w mut Vec<u8>,
}

impl Body<'_> {
    fn attribute(&mut self, kind: u16, write: impl FnOnce(&mut Body<'_>)) {
        let start = self.bytes.len();
        self.bytes.extend([0; 2]);
        self.bytes.extend(kind.to_ne_bytes());
        write(&mut Body { bytes: self.bytes });
        // A rule is far smaller than the 64 KiB an attribute can hold.
        let length = (self.bytes.len() - start) as u16;
        overwrite(self.bytes, start, &length.to_ne_bytes());
        while !(self.bytes.len() - start).is_multiple_of(4) {
            self.bytes.push(0);
        }
    }

    fn nested(&mut self, kind: u16, write: impl FnOnce(&mut Body<'_>)) {
        self.attribute(kind | NESTED, write);
    }

    fn string(&mut self, kind: u16, value: &str) {
        self.attribute(kind, |body| {
            body.bytes.extend(value.as_bytes());
            body.bytes.push(0);
        });
    }

    fn number(&mut self, kind: u16, value: u32) {
        self.attribute(kind, |body| body.bytes.extend(value.to_be_bytes()));
    }

    fn byte(&mut self, kind: u16, value: u8) {
        self.attribute(kind, |body| body.bytes.push(value));
    }

    /// A value as `NFTA_DATA_VALUE`.
    fn data(&mut self, kind: u16, value: &[u8]) {
        self.nested(kind, |body| body.attribute(1, |body| body.bytes.extend(value)));
    }

    fn expression(&mut self, expression: &Expression) {
        let (name, write): (&str, &dyn Fn(&mut Body<'_>)) = match expression {
            Expression::Meta { key } => ("meta", &|body| {
                body.number(2, *key as u32);
                body.number(1, VALUE);
            }),
            Expression::SetMeta { key } => ("meta", &|body| {
                body.number(2, *key as u32);
                body.number(3, VALUE);
            }),
            Expression::Payload { base, offset, length } => ("payload", &|body| {
                body.number(1, VALUE);
                body.number(2, *base as u32);
                body.number(3, *offset);
                body.number(4, *length);
            }),
            Expression::Bitwise { mask } => ("bitwise", &|body| {
                body.number(1, VALUE);
                body.number(2, VALUE);
                body.number(3, mask.len() as u32);
                body.data(4, mask);
                body.data(5, &vec![0; mask.len()]);
            }),
            Expression::Compare { how, value } => ("cmp", &|body| {
                body.number(1, VALUE);
                body.number(2, *how as u32);
                body.data(3, value);
            }),
            Expression::Immediate { register, value } => ("immediate", &|body| {
                body.number(1, *register);
                body.data(2, value);
            }),
            Expression::Verdict(verdict) => ("immediate", &|body| body.verdict(verdict)),
            Expression::Redirect => ("redir", &|body| body.number(1, VALUE)),
            Expression::DestinationNat { v6, port } => ("nat", &|body| {
                const DESTINATION: u32 = 1;
                body.number(1, DESTINATION);
                body.number(2, if *v6 { 10 } else { 2 });
                body.number(3, VALUE);
                if *port {
                    body.number(5, PORT);
                }
            }),
            Expression::Masquerade => ("masq", &|_| {}),
            Expression::Counter => ("counter", &|_| {}),
            Expression::Conntrack { key } => ("ct", &|body| {
                body.number(2, *key);
                body.number(1, VALUE);
            }),
            Expression::SetConntrackMark => ("ct", &|body| {
                const MARK: u32 = 3;
                body.number(2, MARK);
                body.number(4, VALUE);
            }),
            Expression::Random { modulus } => ("numgen", &|body| {
                const RANDOM: u32 = 1;
                body.number(1, VALUE);
                body.number(2, *modulus);
                body.number(3, RANDOM);
                body.number(4, 0);
            }),
            Expression::RejectReset => ("reject", &|body| {
                const TCP_RESET: u32 = 1;
                body.number(1, TCP_RESET);
            }),
            Expression::RejectPort => ("reject", &|body| {
                const ICMPX_UNREACHABLE: u32 = 2;
                const PORT_UNREACHABLE: u8 = 1;
                body.number(1, ICMPX_UNREACHABLE);
                body.byte(2, PORT_UNREACHABLE);
            }),
        };
        self.string(1, name);
        self.nested(2, |body| write(body));
    }

    fn verdict(&mut self, verdict: &Verdict) {
        const VERDICT_REGISTER: u32 = 0;
        let (code, chain): (i32, Option<&str>) = match verdict {
            Verdict::Drop => (0, None),
            Verdict::Accept => (1, None),
            Verdict::Jump(chain) => (-3, Some(chain)),
            Verdict::Goto(chain) => (-4, Some(chain)),
            Verdict::Return => (-5, None),
        };
        self.number(1, VERDICT_REGISTER);
        self.nested(2, |body| {
            body.nested(2, |body| {
                body.number(1, code as u32);
                if let Some(chain) = chain {
                    body.string(2, chain);
                }
            });
        });
    }
}

fn family_number(family: Family) -> u8 {
    match family {
        Family::Inet => 1,
        Family::Ipv4 => 2,
    }
}

fn hook_number(point: HookPoint) -> u32 {
    match point {
        HookPoint::Prerouting => 0,
        HookPoint::Input => 1,
        HookPoint::Forward => 2,
        HookPoint::Output => 3,
        HookPoint::Postrouting => 4,
    }
}

fn chain_type(kind: ChainKind) -> &'static str {
    match kind {
        ChainKind::Filter => "filter",
        ChainKind::Nat => "nat",
        ChainKind::Route => "route",
    }
}
