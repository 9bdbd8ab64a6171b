use super::*;

const MAPS: &str = "\
400000-500000 r--p 00000000 fe:00 1234                      /usr/bin/mizzen
500000-700000 r-xp 00100000 fe:00 1234                      /usr/bin/mizzen
700000-710000 rw-p 00300000 fe:00 1234                      /usr/bin/mizzen
7f0000000000-7f0000100000 r-xp 00000000 fe:00 99            /usr/lib/libc.so.6
7ffc00000000-7ffc00002000 r-xp 00000000 00:00 0             [vdso]
7ffd00000000-7ffd00002000 r-xp 00000000 00:00 0
";

#[test]
fn only_the_programs_own_code_is_given_back() {
    assert_eq!(code_of(MAPS, "/usr/bin/mizzen").collect::<Vec<_>>(), [(0x500000, 0x700000)]);
    assert_eq!(code_of(MAPS, "/usr/bin/other").count(), 0);
    assert_eq!(code_of("nonsense\n1-2\nx-y r-xp 0 0 0 /p\n", "/p").count(), 0);
}

#[test]
fn the_program_runs_on_without_what_it_gave_back() {
    let kept = vec![7u8; 1 << 20];
    give_back();
    give_back_code().expect("the code of a running program can be given back");
    assert!(kept.iter().all(|byte| *byte == 7));
}
