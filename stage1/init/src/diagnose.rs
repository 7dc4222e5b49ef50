//! Why an exec failed, in words: the kernel says "no such file" also for a missing interpreter.

use std::io::{self, Read, Seek, SeekFrom};

use rustix::io::Errno;

use crate::failure::{CANNOT_EXECUTE, Failure, NOT_FOUND};

/// What kind of program a file is.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    /// `#!` and the interpreter's path.
    Script(String),
    /// ELF for this machine, with its `PT_INTERP` if it is dynamic.
    Elf(Option<String>),
    /// ELF for another machine.
    Foreign(u16),
    Empty,
    Unknown,
}

/// The failure for a program that could not be executed, seen from inside the app's root.
pub fn explain(program: &str, error: &io::Error) -> Failure {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    let refuse = |text: String| Failure::new(CANNOT_EXECUTE, format!("{program}: {text}"));
    let metadata = match std::fs::metadata(program) {
        Err(e) if is_absent(&e) => {
            return Failure::new(NOT_FOUND, format!("{program}: no such file in the app's root"));
        }
        Err(e) => return refuse(format!("cannot be executed: {e}")),
        Ok(metadata) => metadata,
    };
    if metadata.is_dir() {
        return refuse("is a directory".to_owned());
    }
    let kind = std::fs::File::open(program).and_then(|mut f| classify(&mut f));
    match (errno, kind) {
        (Some(Errno::NOENT), Ok(Kind::Script(interpreter))) => {
            refuse(format!("its interpreter {interpreter} is not in the app's root"))
        }
        (Some(Errno::NOENT), Ok(Kind::Elf(Some(interpreter)))) => refuse(format!(
            "its program interpreter {interpreter} (the dynamic loader) is not in the app's root"
        )),
        (_, Ok(Kind::Foreign(machine))) => refuse(format!(
            "is built for another machine ({}), this one is {}",
            machine_name(machine),
            std::env::consts::ARCH
        )),
        (Some(Errno::ACCESS), Ok(Kind::Script(interpreter))) if metadata_allows(&metadata) => {
            refuse(format!("permission denied (it, or its interpreter {interpreter})"))
        }
        (Some(Errno::ACCESS), _) if !metadata_allows(&metadata) => {
            refuse("is not executable (no x bit in its mode)".to_owned())
        }
        (Some(Errno::NOEXEC), Ok(Kind::Empty)) => refuse("is an empty file".to_owned()),
        (Some(Errno::NOEXEC), _) => {
            refuse("is neither an ELF program nor a script with #!".to_owned())
        }
        _ => refuse(format!("cannot be executed: {error}")),
    }
}

fn is_absent(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn metadata_allows(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o111 != 0
}

const fn native_machine() -> u16 {
    if cfg!(target_arch = "aarch64") { 183 } else { 62 }
}

fn machine_name(machine: u16) -> String {
    match machine {
        3 => "i386".to_owned(),
        40 => "arm".to_owned(),
        62 => "x86_64".to_owned(),
        183 => "aarch64".to_owned(),
        243 => "riscv64".to_owned(),
        n => format!("ELF machine {n}"),
    }
}

fn classify(file: &mut (impl Read + Seek)) -> io::Result<Kind> {
    let mut head = Vec::new();
    file.take(256).read_to_end(&mut head)?;
    if head.is_empty() {
        return Ok(Kind::Empty);
    }
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|b| *b == b'\n').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line).into_owned();
        return Ok(match line.split_whitespace().next() {
            Some(interpreter) => Kind::Script(interpreter.to_owned()),
            None => Kind::Unknown,
        });
    }
    // 64-bit, little-endian ELF: the only native kind here.
    let u16_at = |at: usize| -> Option<u16> {
        Some(u16::from_le_bytes(head.get(at..at + 2)?.try_into().ok()?))
    };
    let Some(machine) = head.starts_with(b"\x7fELF").then(|| u16_at(18)).flatten() else {
        return Ok(Kind::Unknown);
    };
    if head.get(4..6) != Some(&[2, 1]) || machine != native_machine() {
        // A 32-bit program of a related machine shows its own number.
        return Ok(Kind::Foreign(machine));
    }
    let table = head.get(32..40).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes);
    let (Some(table), Some(size), Some(count)) = (table, u16_at(54), u16_at(56)) else {
        return Ok(Kind::Unknown);
    };
    interpreter(file, table, size, count).map(Kind::Elf)
}

fn interpreter(
    file: &mut (impl Read + Seek),
    table: u64,
    size: u16,
    count: u16,
) -> io::Result<Option<String>> {
    for index in 0..u64::from(count.min(128)) {
        let offset = table.saturating_add(index * u64::from(size));
        let mut header = [0; 56];
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(&mut header)?;
        let word = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&header[at..at + 8]);
            u64::from_le_bytes(bytes)
        };
        const PT_INTERP: [u8; 4] = [3, 0, 0, 0];
        if header[..4] == PT_INTERP {
            let (start, length) = (word(8), word(32).min(4096));
            let mut path = Vec::new();
            file.seek(SeekFrom::Start(start))?;
            file.take(length).read_to_end(&mut path)?;
            let path = path.split(|b| *b == 0).next().unwrap_or_default();
            return Ok(Some(String::from_utf8_lossy(path).into_owned()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[test]
    fn scripts_and_rubbish() {
        let kind = |bytes: &[u8]| classify(&mut Cursor::new(bytes.to_vec())).unwrap();
        assert_eq!(kind(b"#! /bin/sh -e\nx"), Kind::Script("/bin/sh".to_owned()));
        assert_eq!(kind(b"#!\n"), Kind::Unknown);
        assert_eq!(kind(b""), Kind::Empty);
        assert_eq!(kind(b"hello"), Kind::Unknown);
        assert_eq!(kind(b"\x7fELF"), Kind::Unknown);
        let mut elf = [0; 64];
        elf[..6].copy_from_slice(b"\x7fELF\x01\x01");
        elf[18] = 3;
        assert_eq!(kind(&elf), Kind::Foreign(3));
    }

    #[test]
    fn any_cut_of_a_real_program_is_survived() {
        let bytes = std::fs::read("/bin/ls").unwrap();
        let whole = classify(&mut Cursor::new(&bytes)).unwrap();
        assert!(matches!(whole, Kind::Elf(Some(i)) if i.starts_with("/lib")));
        for cut in 0..1024.min(bytes.len()) {
            let _ = classify(&mut Cursor::new(&bytes[..cut]));
        }
    }
}
