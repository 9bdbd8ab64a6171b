//! Memory that was only needed for a while goes back to the system.

use std::io;

/// Gives back what the allocator holds and nobody uses.
///
/// It does so by itself in time, but only while it is asked for more: a process that has read a large
/// configuration and then rests would keep it for ever. Costs a millisecond or so; for the ends of
/// large pieces of work, never for a request's path.
pub fn give_back() {
    // SAFETY: has no preconditions; where another allocator is in use it finds nothing to do.
    unsafe { libmimalloc_sys::mi_collect(true) };
}

/// Gives back the pages of this program's code, of which those in use come back from the file one by
/// one: after a start most of what is there has run for the last time.
pub fn give_back_code() -> io::Result<()> {
    let program = std::fs::read_link("/proc/self/exe")?;
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    for (start, end) in code_of(&maps, &program.to_string_lossy()) {
        // SAFETY: the range is a private mapping of the program's file that is executable and not
        // writable. It has never been written to: this program is linked without relocations in
        // code. So every page can be read again from the file, which is what the kernel does when it
        // is next used, be it for the very next instruction.
        let done = unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_DONTNEED) };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// The executable, unwritable, private ranges of `program` in the text of `/proc/PID/maps`.
fn code_of<'m>(maps: &'m str, program: &'m str) -> impl Iterator<Item = (usize, usize)> + 'm {
    maps.lines().filter_map(move |line| {
        // `55d0c0a00000-55d0c4700000 r-xp 01e1b000 fe:00 1234      /usr/bin/mizzen`
        let (range, rest) = line.split_once(' ')?;
        let mut fields = rest.split_whitespace();
        if fields.next()? != "r-xp" || fields.nth(3)? != program {
            return None;
        }
        let (start, end) = range.split_once('-')?;
        let address = |text| usize::from_str_radix(text, 16).ok();
        let (start, end) = (address(start)?, address(end)?);
        (start < end).then_some((start, end))
    })
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
