//! Memory that a process which mostly sleeps need not hold.

/// Gives back what the calling process holds without needing it: freed heap, and pages of its own
/// program that nothing can have changed, which the kernel brings back from the page cache when
/// they are touched. For a program about to sleep for long: what it touches next is all it has.
/// Best effort; returns how many bytes of the program were considered.
pub fn give_back() -> usize {
    trim_heap();
    let mut total = 0;
    for (start, length) in unwritten_segments() {
        // SAFETY: a segment that the program headers do not make writable is mapped private and
        // read-only over this program's file, and the linker leaves no relocations in it: its pages
        // hold what the file holds, so dropping them changes no byte that a later access sees. The
        // range is what the kernel itself has mapped from these headers.
        let rc = unsafe { libc::madvise(start as *mut libc::c_void, length, libc::MADV_DONTNEED) };
        if rc == 0 {
            total += length;
        }
    }
    total
}

#[cfg(target_env = "gnu")]
fn trim_heap() {
    // SAFETY: an integer only; it returns free pages of the allocator's, under its own locks.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(not(target_env = "gnu"))]
fn trim_heap() {}

/// Start and length, in whole pages, of the segments of this program that are never written.
fn unwritten_segments() -> Vec<(usize, usize)> {
    // SAFETY: integers only; what is missing is 0.
    let (table, count, size, page) = unsafe {
        (
            libc::getauxval(libc::AT_PHDR),
            libc::getauxval(libc::AT_PHNUM),
            libc::getauxval(libc::AT_PHENT),
            libc::getauxval(libc::AT_PAGESZ),
        )
    };
    let as_size = |number: libc::c_ulong| usize::try_from(number).unwrap_or(0);
    let (table, count, page) = (as_size(table), as_size(count), as_size(page));
    if table == 0 || as_size(size) != size_of::<libc::Elf64_Phdr>() || !page.is_power_of_two() {
        return Vec::new();
    }
    // SAFETY: the kernel has put the address, number and size of this program's headers into the
    // auxiliary vector; they lie in its first segment, aligned as ELF wants it, are never written,
    // and stay mapped for as long as the program runs.
    let headers = unsafe { std::slice::from_raw_parts(table as *const libc::Elf64_Phdr, count) };
    segments(headers, table, page)
}

/// The same from the headers, which lie at `table`.
fn segments(headers: &[libc::Elf64_Phdr], table: usize, page: usize) -> Vec<(usize, usize)> {
    let number = |value: u64| usize::try_from(value).unwrap_or(0);
    // Where the program was loaded: the table says where it thinks it is.
    let Some(own) = headers.iter().find(|header| header.p_type == libc::PT_PHDR) else {
        return Vec::new();
    };
    let base = table.wrapping_sub(number(own.p_vaddr));
    let fixed = headers.iter().filter(|h| h.p_type == libc::PT_LOAD && h.p_flags & libc::PF_W == 0);
    fixed
        .map(|header| {
            let start = base.wrapping_add(number(header.p_vaddr));
            let end = start.wrapping_add(number(header.p_filesz));
            // The page of the start is this segment's; that of the end may be another's.
            let (start, end) = (start & !(page - 1), end & !(page - 1));
            (start, end.saturating_sub(start))
        })
        .filter(|(_, length)| *length > 0)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_never_written_is_given_back() {
        let own = unwritten_segments();
        assert!(!own.is_empty());
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        for (start, length) in &own {
            let inside = |line: &&str| {
                let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
                let from = usize::from_str_radix(from, 16).unwrap();
                let to = usize::from_str_radix(to, 16).unwrap();
                from <= *start && start + length <= to
            };
            let line = maps.lines().find(inside).unwrap();
            assert_eq!(line.split(' ').nth(1).unwrap().as_bytes()[1], b'-', "{line}");
        }
        // This function, among others, is read again.
        let text = "still here".to_owned();
        assert!(give_back() > 0);
        assert_eq!(text, "still here");
    }

    #[test]
    fn segments_are_whole_pages_at_the_place_of_loading() {
        let header = |p_type, p_flags, p_vaddr, p_filesz| libc::Elf64_Phdr {
            p_type,
            p_flags,
            p_offset: 0,
            p_vaddr,
            p_paddr: 0,
            p_filesz,
            p_memsz: p_filesz,
            p_align: 0x1000,
        };
        let read = libc::PF_R;
        let table = [
            header(libc::PT_PHDR, read, 0x40, 0x100),
            header(libc::PT_LOAD, read, 0, 0x1800),
            header(libc::PT_LOAD, read | libc::PF_X, 0x2840, 0x3000),
            header(libc::PT_LOAD, read | libc::PF_W, 0x7000, 0x1000),
            header(libc::PT_LOAD, read, 0x9000, 0x10),
        ];
        let found = segments(&table, 0x10_0040, 0x1000);
        assert_eq!(found, [(0x10_0000, 0x1000), (0x10_2000, 0x3000)]);
        assert_eq!(segments(&table[1..], 0x10_0040, 0x1000), []);
    }
}
