use super::*;

#[test]
fn processor_time_is_found_behind_any_name() {
    let stat = "42 (a ) b) S 1 42 42 0 -1 4194560 95 0 0 0 150 50 0 0 20 0 1 0 100 1 1";
    assert_eq!(parse_stat(stat, 100.0), Some(Cpu { user: 1.5, system: 0.5 }));
    assert_eq!(parse_stat("42 (short) S 1", 100.0), None);
}

#[test]
fn memory_is_in_bytes() {
    let status = "Name:\tx\nVmRSS:\t    64 kB\nRssAnon:\t    14 kB\nRssFile:\t 50 kB\n";
    assert_eq!(parse_status(status), Some(Memory { resident: 65536.0, anonymous: 14336.0 }));
    assert_eq!(parse_status("Name:\tzombie\n"), None);
}

#[test]
fn this_process_can_be_read() {
    assert!(Memory::of(std::process::id()).unwrap().anonymous > 0.0);
    assert!(Cpu::of(std::process::id()).is_ok());
}
